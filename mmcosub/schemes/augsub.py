"""AugSub: self-distillation from a clean full network to a perturbed copy."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.submodels import Site, are_drop_paths, find_sites, temporarily
from mmcosub.submodels.masking import (
    mask_pixels,
    masked_patches,
    masking_mode,
    removed_tokens,
)

from .base import SCHEMES, Context, Scheme
from .distillation import Teaching, require

MAIN, SUB = 0, 1

# Dropout that follows no projection: of attention weights, and mmcv's DropPath slot.
_OTHER_DROPOUTS = ('attn_drop', 'dropout_layer')


class AugSub(Scheme):
    r"""Scheme with a full network that learns from labels, and a submodel from it.

    .. math:: \frac12 [\ell(z_{main}, y) + \ell_{soft}(z_{sub}, z_{main})]

    From `Augmenting Sub-model to Improve Main Model
    <https://arxiv.org/abs/2306.11339>`_: no temperature, no label loss for the
    submodel, ordinary regularisation in both, and two forwards one after another.
    Segmentation is not in the paper.

    Args:
        ratio (float): Strength of the submodel's perturbation, in (0, 1). Defaults to
            0.5.
        **kwargs: Arguments of :class:`Scheme`.

    Raises:
        ValueError: If the ratio is not in (0, 1).
    """

    joint = False

    def __init__(self, ratio: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require('ratio', ratio, 0 < ratio < 1, 'in (0, 1)')
        self.ratio = ratio

    @property
    def label_weights(self) -> Sequence[float]:
        """See :class:`Scheme`. The ramp moves weight from the label to distillation."""
        return [1 - self.ramp / 2, 0.0]

    @property
    def teachings(self) -> Sequence[Teaching]:
        return [Teaching(MAIN, SUB, self.ramp / 2)]

    def check(self, sites: Sequence[Site]) -> None:
        """See :class:`Scheme`. Drop-path rates may be 0, as the views differ anyway."""


@SCHEMES.register_module()
class AugPath(AugSub):
    """AugSub whose submodel has the drop-path rate ``ratio`` in all blocks.

    It replaces the network's own rates, as in the paper. Arguments are those of
    :class:`AugSub`.
    """

    def rates(self, sites: Sequence[Site], view: int = MAIN) -> NDArray[np.float64]:
        if view == MAIN:
            return super().rates(sites)
        return self.ratio * np.array([site.block.training for site in sites])


@SCHEMES.register_module()
class AugDrop(AugSub):
    """AugSub whose submodel has dropout after the projections of every block.

    As in the paper, after those of attention and MLP; the dropout of attention weights
    keeps its rate. Arguments are those of :class:`AugSub`.

    Raises:
        ValueError: If no known block has dropout after a projection.
    """

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        self.dropouts = [
            module
            for block in _blocks(model)
            for name, module in block.named_modules()
            if isinstance(module, nn.Dropout) and not name.endswith(_OTHER_DROPOUTS)
        ]
        if not self.dropouts:
            raise ValueError(
                f'The blocks of {type(model.backbone).__name__} have no dropout behind '
                'a projection for AugDrop to use. Use AugPath or AugMask.'
            )
        return {}

    def disturb(
        self, model: Any, view: int, images: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Context]:
        if view == MAIN:
            return images, nullcontext
        return images, partial(temporarily, self.dropouts, p=self.ratio)


@SCHEMES.register_module()
class AugMask(AugSub):
    """AugSub whose submodel sees a masked image.

    As in the paper, patch tokens of a ViT are removed, units of 32 pixels of a Swin are
    replaced by a learned token after the patch embedding, and such units of the
    normalised image are set to 0 for convolutional networks.

    Not in the paper: images of transformers that need every token (BEiT, mmseg's MAE,
    PiT, a ViT inside of a plain model) are masked as for convolutional networks. Where
    a ViT returns feature maps, a learned token takes the places of the removed ones, so
    that every pixel has a logit. It is not part of the model's checkpoint.

    Arguments are those of :class:`AugSub`.
    """

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        self.mode = masking_mode(model.sites)
        inside = model.network is model.backbone and '.' in model.sites[0].stage
        if inside and self.mode == 'tokens':
            self.mode = 'pixels'  # what is around the ViT may need every token
        learns = self.mode == 'patches'
        if self.mode == 'tokens':
            self.blocks = _blocks(model)
            self.mapped = _mapped_blocks(model.backbone, self.blocks)
            learns = bool(self.mapped)  # feature maps to put a token back into
        if not learns:
            return {}
        token = nn.init.trunc_normal_(torch.zeros(_width(model)), std=0.02)
        return {'mask_token': nn.ParameterDict({'value': token})}

    def disturb(
        self, model: Any, view: int, images: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Context]:
        if view == MAIN:
            return images, nullcontext
        if self.mode == 'pixels':
            return mask_pixels(images, self.ratio, rng), nullcontext
        extras = model.extras
        token = extras['mask_token']['value'] if 'mask_token' in extras else None
        if self.mode == 'patches':
            assert token is not None  # from prepare()
            return images, masked_patches(
                model.backbone, images, self.ratio, token, rng
            )
        backbone = getattr(model.backbone, 'timm_model', model.backbone)
        extra = _extra_tokens(backbone)
        return images, removed_tokens(
            self.blocks, self.mapped, extra, self.ratio, token, rng
        )


def _blocks(model: Any) -> list[nn.Module]:
    """Return all blocks in the order in which they run, also those without DropPath."""
    known = find_sites(model.backbone) if are_drop_paths(model.sites) else model.sites
    # The model's own sites of unknown blocks are in the order of their first call.
    sites = model.sites if are_drop_paths(known) else known
    return list(dict.fromkeys(site.block for site in sites))


def _width(model: Any) -> int:
    """Return the number of channels of a block's tokens."""
    modules = model.sites[0].block.modules()
    norm = next(module for module in modules if isinstance(module, nn.LayerNorm))
    return int(norm.normalized_shape[0])


def _extra_tokens(backbone: Any) -> int:
    """Return the number of tokens before the patch tokens."""
    backbone = getattr(backbone, 'model', backbone)  # timm's feature extractor
    if not getattr(backbone, 'with_cls_token', True):
        return 0  # mmseg's ViT has the parameter without using it
    for name in ('num_extra_tokens', 'num_prefix_tokens'):  # mmpretrain, timm
        if hasattr(backbone, name):
            return int(getattr(backbone, name))
    return int(getattr(backbone, 'cls_token', None) is not None)


def _mapped_blocks(backbone: Any, blocks: list[nn.Module]) -> list[nn.Module]:
    """Return the blocks whose output must be a whole feature map."""
    if not hasattr(backbone, 'timm_model'):
        out_type = getattr(backbone, 'out_type', 'featmap')
        if out_type != 'featmap' or not hasattr(backbone, 'out_indices'):
            return []
        outs = backbone.out_indices
        outs = [outs] if isinstance(outs, int) else outs
        return [blocks[i] for i in outs]
    # timm's feature extractors do not tell which blocks they return.
    return blocks if hasattr(backbone.timm_model, 'model') else []
