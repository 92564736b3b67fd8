"""Settings and weights of an upstream backbone with fewer blocks."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmcosub.analysis.network import Kept, Network

# Settings of upstream backbones for their number of blocks, possibly by stage.
_DEPTHS = ('num_layers', 'depths', 'depth', 'layers')


def shallower_settings(settings: dict, network: Network, kept: Kept) -> dict:
    """Return settings of a backbone with some blocks; ValueError if none build it."""
    backbone: Any = network.backbone
    cls = type(backbone)
    settings = copy.deepcopy(dict(settings))
    for each in ('init_cfg', 'pretrained'):
        settings.pop(each, None)
    defaults = {k: p.default for k, p in inspect.signature(cls).parameters.items()}
    holder = settings
    if 'arch' in defaults:
        arch = settings.get('arch', defaults['arch'])
        settings['arch'] = holder = _arch(cls, arch)
    stages = _stages(network)
    given = {**defaults, **holder}
    counts = [len(stage) for stage in stages]
    fitting = [each for each in _DEPTHS if _numbers(given.get(each)) == counts]
    if not fitting:
        raise ValueError(
            f'No upstream config builds {cls.__name__} with these blocks: none of its '
            f'settings {", ".join(_DEPTHS)} is {counts}, its numbers of blocks.'
        )
    key = fitting[0]
    if not isinstance(given[key], Sequence):
        holder[key] = len(kept)
        settings.update(_outputs(settings, backbone, counts[0], kept))
        if settings.get('frozen_stages', 0) > 0:
            frozen = range(settings['frozen_stages'])
            settings['frozen_stages'] = len(kept.intersection(frozen))
        return settings
    left = [[number for number in stage if number in kept] for stage in stages]
    numbers = iter(map(len, left))
    holder[key] = [next(numbers) if number else 0 for number in given[key]]
    settings.update(_shifts(network, left, 'stage_cfgs' in defaults))
    return settings


def _numbers(depth: Any) -> list[int]:
    """Return numbers of blocks by stage, without empty ones."""
    return [n for n in (depth if isinstance(depth, Sequence) else [depth]) if n]


def _arch(cls: type, arch: Any) -> dict:
    """Return the architecture of a name."""
    if isinstance(arch, dict):
        return dict(arch)
    for table in ('arch_zoo', 'arch_settings'):
        named = getattr(cls, table, None)
        for name in (arch, str(arch).lower()):
            if isinstance(named, dict) and isinstance(named.get(name), dict):
                return copy.deepcopy(named[name])
    raise ValueError(f'{cls.__name__} has no architecture {arch!r}.')


def _shifts(network: Network, left: list[list[int]], settable: bool) -> dict:
    """Return settings that keep shifted windows in the same blocks of a Swin.

    ``left`` are the kept blocks by stage. ValueError if shifts are not ``settable``.
    """
    blocks: dict[int, Any] = {site.depth: site.block for site in network.sites}
    if not hasattr(getattr(blocks[0], 'attn', None), 'shift_size'):
        return {}
    cfgs = [[_block_cfg(blocks[number]) for number in stage] for stage in left]
    if all(
        not cfg.get('extra_norm') and cfg['shift'] == (place % 2 == 1)
        for stage in cfgs
        for place, cfg in enumerate(stage)
    ):
        return {}
    if not settable:
        raise ValueError(
            "Blocks would come where MMSegmentation's Swin shifts windows otherwise: "
            'there, shifted and unshifted ones alternate by place. Leave out two '
            'neighbours at a time, or the last ones of a stage. '
            '(mmpretrain.SwinTransformer has a setting for each block.)'
        )
    return dict(stage_cfgs=[dict(block_cfgs=stage) for stage in cfgs])


def _block_cfg(block: Any) -> dict:
    """Return mmpretrain's settings of one block of a Swin or SwinV2."""
    cfg = dict(shift=block.attn.shift_size > 0)
    if hasattr(block, 'extra_norm'):
        cfg['extra_norm'] = block.extra_norm
    return cfg


def _outputs(settings: dict, backbone: Any, count: int, kept: Kept) -> dict:
    """Return new numbers of the blocks that output feature maps."""
    places, before = [], -1
    for index in sorted(i % count if i < 0 else int(i) for i in backbone.out_indices):
        # Other blocks may follow the counted ones, as in XCiT.
        place = index - (count - len(kept))
        if index < count:
            place = len([b for b in kept if b <= index]) - 1
            if not any(before < b <= index for b in kept):
                raise ValueError(
                    f'No block would be left for the feature map behind block {index}. '
                    f'Keep one of the blocks {before + 1} to {index}.'
                )
        places.append(place)
        before = index
    last = settings.get('out_indices', -1) in (-1, [-1], (-1,))
    return {} if last else dict(out_indices=places)


def shallower_weights(
    weights: dict[str, Tensor], network: Network, kept: Kept
) -> dict[str, Tensor]:
    """Return a model's weights without those of other blocks, under their new names."""
    names = {module: name for name, module in network.model.named_modules()}
    prefix = names[network.backbone]
    renamed: dict[str, str | None] = {'': ''}
    for stage in _stages(network):
        place = 0
        for block in stage:
            name = network.blocks[block]
            holder = name.rpartition('.')[0]
            new = f'{prefix}.{holder}.{place}.' if block in kept else None
            renamed[f'{prefix}.{name}.'] = new
            place += block in kept
    result = {}
    for name, weight in weights.items():
        old = max((each for each in renamed if name.startswith(each)), key=len)
        if (new := renamed[old]) is not None:
            result[new + name.removeprefix(old)] = weight
    return result


def _stages(network: Network) -> list[list[int]]:
    """Return block numbers by list; ValueError if a list also has other modules."""
    stages: dict[str, list[int]] = {}
    for number, name in enumerate(network.blocks):
        stages.setdefault(name.rpartition('.')[0], []).append(number)
    for holder, blocks in stages.items():
        module: Any = network.backbone.get_submodule(holder)
        listed = isinstance(module, nn.ModuleList | nn.Sequential)
        if not listed or len(module) != len(blocks):
            raise ValueError(
                f'{holder} of {type(network.backbone).__name__} holds other modules '
                'than residual blocks, so its blocks cannot be renumbered.'
            )
    return list(stages.values())
