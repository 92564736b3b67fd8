"""Shifted windows of a Swin whose blocks are partly removed."""

import copy
from collections.abc import Sequence
from typing import Any

from .families import Family
from .network import Kept, Network


def keep_shifts(
    settings: dict,
    network: Network,
    stages: list[list[int]],
    kept: Kept,
    family: Family,
) -> None:
    """Keep shifted attention in the same blocks of a Swin.

    Args:
        settings (dict): Settings of the backbone, changed in place.
        network (Network): The full network.
        stages (list[list[int]]): Numbers of the blocks of each stage.
        kept (frozenset[int]): The blocks.
        family (Family): Family of the backbone.

    Raises:
        ValueError: If the config cannot set it.
    """
    blocks: dict[int, Any] = {site.depth: site.block for site in network.sites}
    given = settings.get('stage_cfgs') or {}
    of_stages, changed = [], isinstance(given, Sequence)
    for i, stage in enumerate(stages):
        cfg = dict(copy.deepcopy(given[i] if isinstance(given, Sequence) else given))
        of_blocks = cfg.get('block_cfgs') or {}
        several = isinstance(of_blocks, Sequence)
        changed |= several
        cfg['block_cfgs'] = []
        for place, number in enumerate(b for b in stage if b in kept):
            here = dict(of_blocks[number - stage[0]] if several else of_blocks)
            is_so = _by_block(blocks[number])
            differs = {
                k: v for k, v in is_so.items() if v != _by_place(place, settings)[k]
            }
            if differs and family.shift == 'position':
                raise ValueError(_out_of_step(network.blocks[number], is_so['shift']))
            changed |= bool(differs)
            cfg['block_cfgs'].append({**here, **differs})
        of_stages.append(cfg)
    if changed:
        settings['stage_cfgs'] = of_stages


def _by_block(block: Any) -> dict[str, bool]:
    """Return settings of a Swin block that depend on its place in the stage."""
    found = dict(shift=block.attn.shift_size > 0)
    if hasattr(block, 'extra_norm'):
        found['extra_norm'] = bool(block.extra_norm)
    return found


def _by_place(place: int, settings: dict) -> dict[str, bool]:
    arch = settings.get('arch')
    every = arch.get('extra_norm_every_n_blocks', 0) if isinstance(arch, dict) else 0
    extra = bool(every) and (place + 1) % every == 0
    return dict(shift=place % 2 == 1, extra_norm=extra)


def _out_of_step(name: str, shifted: bool) -> str:
    kinds = ('in shifted windows', 'in windows that are not shifted')
    before, after = kinds if shifted else kinds[::-1]
    return (
        f"{name} attends {before} and would come where MMSegmentation's Swin has it "
        f'attend {after}: there they alternate by place. Leave out two neighbours at a '
        'time, or the last ones of a stage. (mmpretrain.SwinTransformer has a setting '
        'for each block.)'
    )
