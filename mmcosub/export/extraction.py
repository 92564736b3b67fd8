"""Extraction of a submodel as an upstream model."""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmcosub.analysis.network import Kept, Network
from mmcosub.analysis.sweep import WhyNot
from mmcosub.config.unread import value_at, walk
from mmcosub.files import atomic_write

from .shallower import shallower_settings, shallower_weights

TOLERANCE = 1e-6
"""Maximum difference of outputs, relative to their largest value."""
# Keys of mmcosub's runners and tools, and paths.
_KEYS = (
    'scheme', 'runner_type', 'fast', 'carry_over', 'trust_checkpoint', 'bad_data',
    'launcher', 'work_dir', 'load_from', 'resume',
)  # fmt: skip
_IF_OURS = ('custom_imports', 'dataset_type')  # the latter is a variable of the file
_PARTS = ('dataloader', 'evaluator', 'cfg')


@dataclass
class Extracted:
    """Submodel as an upstream config and weights, and what was left out of the config.

    ``difference`` is the largest of its outputs from the submodel's, relative to their
    largest value.
    """

    cfg: Config
    weights: dict[str, Tensor]
    left_out: list[str]
    difference: float

    def write(self, out: Path, dataset_meta: dict, blocks: list[str]) -> None:
        """Write a checkpoint, with names of its blocks, and the config beside it."""
        out.parent.mkdir(parents=True, exist_ok=True)
        meta = dict(dataset_meta=dataset_meta, submodel_of_blocks=blocks)
        with atomic_write(out) as partial:
            torch.save(dict(meta=meta, state_dict=self.weights), partial)
        with atomic_write(out.with_suffix('.py')) as partial:
            partial.write_text(self.cfg.pretty_text, encoding='utf-8')


def extractable(settings: dict, network: Network) -> WhyNot:
    """Return a check of why a submodel of a model's settings cannot be extracted."""

    def why_not(kept: Kept) -> str | None:
        try:
            shallower_settings(_backbone(settings), network, kept)
        except ValueError as error:
            return network.why_not(kept) or str(error)
        return network.why_not(kept)

    return why_not


def extract(cfg: Config, network: Network, kept: Kept) -> Extracted:
    """Build an upstream model of a submodel and compare their outputs.

    ValueError if there is no such submodel, or no upstream config computes the same.
    """
    reason = network.why_not(kept)
    if reason:
        raise ValueError(f'No submodel of the blocks {sorted(kept)}: {reason}.')
    new, left_out = _without_ours(cfg)
    backbone = shallower_settings(_backbone(new.model), network, kept)
    new.model.backbone = ConfigDict(backbone)
    left_out += _stock_model(new.model)
    weights = shallower_weights(network.model.state_dict(), network, kept)
    what = f'The upstream {type(network.backbone).__name__} with blocks {sorted(kept)}'
    try:
        difference = _difference(network, kept, _build(new, weights))
    except Exception as error:  # constructors and networks can fail in any way
        raise ValueError(
            f'{what} cannot be built and run ({type(error).__name__}: '
            f'{str(error).splitlines()[0]}). Keep other blocks.'
        ) from error
    if not difference <= TOLERANCE:
        raise ValueError(
            f'{what} computes something else than the submodel: outputs differ by '
            f'{difference:.1g} of their largest value. Keep other blocks, and please '
            'report the config.'
        )
    return Extracted(new, weights, left_out, difference)


def _backbone(settings: dict) -> dict:
    if 'backbone' not in settings:
        raise ValueError(
            f'model.type={settings["type"]!r} has no settings of a backbone, so no '
            'upstream config builds a shallower one. Those with model.backbone can be '
            'extracted.'
        )
    return settings['backbone']


def _build(cfg: Config, weights: dict[str, Tensor]) -> nn.Module:
    """Build a config's model, with weights."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model: Any = MODELS.build(copy.deepcopy(cfg.model))
    # SwinV2 recomputes some buffers and discards loaded ones.
    made, _ = model.load_state_dict(model.state_dict(), strict=False)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if odd := {*missing, *unexpected} - {*made}:
        raise ValueError(f'{sorted(odd)[:3]} have no counterpart')
    return model.eval()


@torch.inference_mode()
def _difference(network: Network, kept: Kept, model: Any) -> float:
    """Return the largest difference of outputs, relative to their maximum."""
    with network.submodel(kept):
        wanted = _outputs(network.model, network.image)
    found = _outputs(model.to(network.image.device), network.image)
    if [o.shape for o in wanted] != [o.shape for o in found]:
        return float('inf')
    # torch.stack(...).max() is NaN if one is, unlike Python's max().
    scale = torch.stack([o.abs().max() for o in wanted]).max()
    pairs = zip(wanted, found, strict=True)
    gap = torch.stack([(a - b).abs().max() for a, b in pairs]).max()
    return float(gap / scale.clamp_min(1e-30))


def _outputs(model: Any, image: Tensor) -> list[Tensor]:
    """Return outputs of the backbone and the whole model."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # some heads, such as SegNeXt's, draw random numbers
        outputs = [model.backbone(image), model(image, mode='tensor')]
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _without_ours(cfg: Config) -> tuple[Config, list[str]]:
    """Return a config whose parts, except the model, need no mmcosub; and removed keys.

    A loader or metric of mmcosub is removed with its whole loop, a metric beside others
    alone. Hooks and imports are not needed without a scheme.
    """
    new = copy.deepcopy(cfg)
    new.custom_hooks = [h for h in new.get('custom_hooks') or [] if not _is_ours(h)]
    for key, value in list(new.items()):
        if key in _KEYS or (key in _IF_OURS and _is_ours(value)):
            new.pop(key)
        if key.endswith('_evaluator') and isinstance(value, list):
            new[key] = [each for each in value if not _is_ours(each)] or value
    left_out = [key for key in new if key != 'model' and _is_ours(new[key])]
    for key in left_out:
        loop, _, part = key.partition('_')
        rest = _PARTS if part in _PARTS else ()
        for each in (key, *(f'{loop}_{other}' for other in rest)):
            new.pop(each, None)
    return new, left_out


def _stock_model(model: ConfigDict) -> list[str]:
    """Remove losses that need mmcosub from a model's settings, and return their keys.

    ValueError if another part needs mmcosub.
    """
    left_out = []
    for at, part in list(walk(model, 'model')):
        holder, _, key = at.rpartition('.')
        if key in ('loss', 'loss_decode') and _is_ours(part):
            value_at(Config(dict(model=model)), holder).pop(key)
            left_out.append(at)
    for at, part in walk(model, 'model'):
        if at.endswith('.type') and _is_ours(part):
            raise ValueError(
                f'{at}={part!r} needs mmcosub. Set it to the upstream class with the '
                'same weights (--cfg-options).'
            )
    return left_out


def _is_ours(value: Any) -> bool:
    """Return True if a setting names a class or module of mmcosub."""
    return bool(re.search(r"'mmcosub(\.|::|')", repr(value)))
