"""AugSub: the main network teaches itself under one more disturbance."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.submodels import Site, are_drop_paths, find_sites
from mmcosub.submodels.masking import (
    MaskedPatches,
    RemovedTokens,
    mask_pixels,
    masking_kind,
)

from .base import SCHEMES, Context, Scheme, check_frozen
from .extras import MaskToken
from .teaching import Teaching

MAIN, SUB = 0, 1

# Not behind a projection: on attention weights, and mmcv's slot for a drop path.
_OTHER_DROPOUTS = ('attn_drop', 'dropout_layer')


class AugSub(Scheme):
    r"""The main network learns from the label, a submodel of it from the main network.

    .. math:: \frac12 [\ell(z_{main}, y) + \ell_{soft}(z_{sub}, z_{main})]

    From `Augmenting Sub-model to Improve Main Model
    <https://arxiv.org/abs/2306.11339>`_: no temperature, the submodel sees no label,
    ordinary regularisation stays on in both, and the two run one after another. Inside
    a segmentation training it is ours.

    Args:
        ratio (float): Strength of the submodel's disturbance, in (0, 1). Defaults to
            0.5.
        **kwargs: Arguments of :class:`Scheme`.

    Raises:
        ValueError: If the ratio is not in (0, 1).
    """

    joint = False

    def __init__(self, ratio: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < ratio < 1:
            raise ValueError(f'scheme.ratio must be in (0, 1), not {ratio}.')
        self.ratio = ratio

    @property
    def label_weights(self) -> Sequence[float]:
        """See :class:`Scheme`. The main network's grows as the other's ramps up."""
        return [1 - self.ramp / 2, 0.0]

    @property
    def teachings(self) -> Sequence[Teaching]:
        """See :class:`Scheme`."""
        return [Teaching(MAIN, SUB, self.ramp / 2)]

    def check(self, sites: Sequence[Site]) -> None:
        """See :class:`Scheme`. The views differ whatever the drop-path rates are."""
        check_frozen(self, sites)


@SCHEMES.register_module()
class AugPath(AugSub):
    """AugSub whose submodel has one high drop-path rate in all blocks.

    It replaces the network's own rates there (published). Arguments are those of
    :class:`AugSub`.
    """

    def rates(self, sites: Sequence[Site], view: int = MAIN) -> NDArray[np.float64]:
        """See :class:`Scheme`."""
        if view == MAIN:
            return super().rates(sites)
        training = np.array([site.block.training for site in sites])
        return self.ratio * training


@SCHEMES.register_module()
class AugDrop(AugSub):
    """AugSub whose submodel has dropout behind the projections of every block.

    Of attention and MLP (published); the rate of attention weights stays. Arguments are
    those of :class:`AugSub`.

    Raises:
        ValueError: If no known block has dropout behind a projection.
    """

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Scheme`."""
        self.dropouts = _projection_dropouts(_blocks(model))
        if not self.dropouts:
            raise ValueError(
                f'The blocks of {type(model.backbone).__name__} have no dropout behind '
                'a projection for AugDrop to use. Use AugPath or AugMask.'
            )
        return {}

    def disturb(
        self, model: Any, view: int, images: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Context]:
        """See :class:`Scheme`."""
        if view == MAIN:
            return images, nullcontext
        return images, partial(_dropout_rates, self.dropouts, self.ratio)


@contextmanager
def _dropout_rates(modules: Sequence[nn.Dropout], rate: float) -> Iterator[None]:
    """Run with another rate of dropout."""
    before = [module.p for module in modules]
    for module in modules:
        module.p = rate
    try:
        yield
    finally:
        for module, p in zip(modules, before, strict=True):
            module.p = p


@SCHEMES.register_module()
class AugMask(AugSub):
    """AugSub whose submodel sees part of the image.

    Published: a ViT loses tokens, for good, and the class token stays; a Swin has
    units of 32 pixels replaced by a learned token behind the patch embedding; networks
    of convolutions have such units of the normalised image set to 0. Ours: so have
    transformers that need every token (BEiT, mmseg's MAE, PiT), and where a ViT
    puts out feature maps, the tokens are put back there as a learned one, so that every
    pixel has a logit. The learned token is no part of the model's checkpoint.

    Arguments are those of :class:`AugSub`.
    """

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Scheme`."""
        self.kind = masking_kind(model.sites)
        if self.kind == 'pixels':
            return {}
        if self.kind == 'tokens':
            self.blocks = _blocks(model)
            self.put_out = _blocks_put_out(model.backbone, self.blocks)
            if not self.put_out:
                return {}  # no feature map to put a token back into
        return {'mask_token': MaskToken(_width(model, self.kind))}

    def disturb(
        self, model: Any, view: int, images: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Context]:
        """See :class:`Scheme`."""
        if view == MAIN:
            return images, nullcontext
        if self.kind == 'pixels':
            return mask_pixels(images, self.ratio, rng), nullcontext
        extras = model.extras
        token = extras['mask_token'].value if 'mask_token' in extras else None
        if self.kind == 'patches':
            assert token is not None  # prepare() made it
            return images, MaskedPatches(model.backbone, images, self.ratio, token, rng)
        backbone = getattr(model.backbone, 'timm_model', model.backbone)
        return images, RemovedTokens(
            self.blocks,
            self.put_out,
            _extra_tokens(backbone),
            self.ratio,
            token,
            rng,
        )


def _blocks(model: Any) -> list[nn.Module]:
    """All blocks, in the order in which they run.

    Also those without a drop path, which have no site where drop paths are handed the
    factors.
    """
    known = find_sites(model.backbone) if are_drop_paths(model.sites) else model.sites
    # Of unknown blocks the model's own, which are in the order of their first call.
    sites = model.sites if are_drop_paths(known) else known
    return list(dict.fromkeys(site.block for site in sites))


def _projection_dropouts(blocks: Sequence[nn.Module]) -> list[nn.Dropout]:
    return [
        module
        for block in blocks
        for name, module in block.named_modules()
        if isinstance(module, nn.Dropout) and not name.endswith(_OTHER_DROPOUTS)
    ]


def _width(model: Any, kind: str) -> int:
    """Channels of the tokens that a mask token stands for."""
    norm = next(
        m for m in model.sites[0].block.modules() if isinstance(m, nn.LayerNorm)
    )
    return int(norm.normalized_shape[0])


def _extra_tokens(backbone: Any) -> int:
    """Number of tokens before the patches'."""
    backbone = getattr(backbone, 'model', backbone)  # timm's feature extractor
    if not getattr(backbone, 'with_cls_token', True):
        return 0  # mmseg's ViT has the parameter all the same
    for name in ('num_extra_tokens', 'num_prefix_tokens'):  # mmpretrain's, timm's
        if hasattr(backbone, name):
            return int(getattr(backbone, name))
    return int(getattr(backbone, 'cls_token', None) is not None)


def _blocks_put_out(backbone: Any, blocks: list[nn.Module]) -> list[nn.Module]:
    """Blocks whose output has to be a whole feature map."""
    if not hasattr(backbone, 'timm_model'):
        kind = getattr(backbone, 'out_type', 'featmap')
        if kind != 'featmap' or not hasattr(backbone, 'out_indices'):
            return []
        outs = backbone.out_indices
        outs = [outs] if isinstance(outs, int) else outs
        return [blocks[i] for i in outs]
    # timm's feature extractors do not say which.
    return blocks if hasattr(backbone.timm_model, 'model') else []
