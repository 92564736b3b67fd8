"""Settings and weights of an upstream backbone with fewer blocks."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmcosub.analysis.network import Kept, Network

from .families import family_of, keep_shifts


def shallower_settings(settings: dict, network: Network, kept: Kept) -> dict:
    """Return settings of a backbone with some blocks; ValueError if none build it."""
    backbone: Any = network.backbone
    family = family_of(backbone)
    settings = copy.deepcopy(dict(settings))
    settings.pop('init_cfg', None)
    settings.pop('pretrained', None)
    *nested, key = family.depth.split('.')
    if nested:
        settings['arch'] = _arch(type(backbone), settings.get('arch'))
    holder = settings['arch'] if nested else settings
    if key not in holder:
        holder[key] = inspect.signature(type(backbone)).parameters[key].default
    depth = holder[key]
    stages = _stages(network)
    if isinstance(depth, Sequence):
        left = iter(stages)
        stages = [next(left) if number else [] for number in depth]
        numbers = [len(kept.intersection(stage)) for stage in stages]
        if not family.empty_stages and 0 in numbers:
            raise ValueError(
                f'Stage {numbers.index(0)} would have no block, and '
                f"{type(backbone).__name__} needs one for the stage's channels. Keep "
                f'one of the blocks {stages[numbers.index(0)]}.'
            )
        holder[key] = numbers
        if family.shift:
            keep_shifts(settings, network, stages, kept, family)
        return settings
    holder[key] = len(kept)
    _keep_outputs(settings, backbone, len(network.blocks), kept)
    layers = settings.get('layer_cfgs')
    if isinstance(layers, Sequence):
        settings['layer_cfgs'] = [layers[b] for b in sorted(kept)]
    if settings.get('frozen_stages', 0) > 0:
        frozen = range(settings['frozen_stages'])
        settings['frozen_stages'] = len(kept.intersection(frozen))
    return settings


def _arch(cls: type, arch: Any) -> dict:
    """Return the architecture of a name; the default without one."""
    if isinstance(arch, dict):
        return dict(arch)
    for table in ('arch_zoo', 'arch_settings'):
        named = getattr(cls, table, None)
        for name in (arch, str(arch).lower()):
            if isinstance(named, dict) and isinstance(named.get(name), dict):
                return copy.deepcopy(named[name])
    raise ValueError(f'{cls.__name__} has no architecture {arch!r}.')


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


def _keep_outputs(settings: dict, backbone: Any, count: int, kept: Kept) -> None:
    """Renumber the blocks that output feature maps; ValueError if one has no block."""
    places, before = [], -1
    for index in sorted(i % count if i < 0 else int(i) for i in backbone.out_indices):
        # Other blocks may follow the counted ones, as in XCiT.
        place = index - (count - len(kept))
        if index < count:
            place = len([b for b in kept if b <= index]) - 1
            if not any(before < b <= index for b in kept):
                raise ValueError(
                    'No block would be left for the feature map behind block '
                    f'{index}. {_keep(before + 1, index)}.'
                )
        places.append(place)
        before = index
    behind = before < count - 1 and places[-1] == len(kept) - 1
    if behind and getattr(backbone, 'final_norm', True):
        raise ValueError(
            f'The norm behind the last block would come before the feature map of '
            f'block {before}. {_keep(before + 1, count - 1)}.'
        )
    if settings.get('out_indices', -1) not in (-1, [-1], (-1,)):  # keep the last
        settings['out_indices'] = places


def _keep(first: int, last: int) -> str:
    if first == last:
        return f'Keep block {first}'
    return f'Keep one of the blocks {first} to {last}'
