"""Upstream backbones whose configs allow fewer blocks, and their shifted windows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from mmcosub.analysis.network import Kept, Network

_PRETRAIN = 'mmpretrain.models.backbones'
_SEG = 'mmseg.models.backbones'


class Family(NamedTuple):
    """Settings by which a backbone's config gives its number of blocks.

    ``depth`` is the dotted key of that number, possibly by stage. A config sets whether
    windows are shifted by 'block', or it depends on the 'position'; '' without windows.
    """

    depth: str
    shift: str = ''
    empty_stages: bool = True


FAMILIES = {
    f'{_PRETRAIN}.vision_transformer.VisionTransformer': Family('arch.num_layers'),
    f'{_PRETRAIN}.deit3.DeiT3': Family('arch.num_layers'),
    f'{_PRETRAIN}.beit.BEiTViT': Family('arch.num_layers'),
    f'{_PRETRAIN}.vit_eva02.ViTEVA02': Family('arch.num_layers'),
    f'{_PRETRAIN}.mlp_mixer.MlpMixer': Family('arch.num_layers'),
    f'{_PRETRAIN}.xcit.XCiT': Family('depth'),
    f'{_PRETRAIN}.swin_transformer.SwinTransformer': Family('arch.depths', 'block'),
    f'{_PRETRAIN}.swin_transformer_v2.SwinTransformerV2': Family(
        'arch.depths', 'block'
    ),
    f'{_PRETRAIN}.convnext.ConvNeXt': Family('arch.depths'),
    f'{_PRETRAIN}.poolformer.PoolFormer': Family('arch.layers'),
    f'{_PRETRAIN}.hornet.HorNet': Family('arch.depths'),
    # Reads a stage's channels from its last block.
    f'{_PRETRAIN}.van.VAN': Family('arch.depths', empty_stages=False),
    f'{_SEG}.vit.VisionTransformer': Family('num_layers'),
    f'{_SEG}.beit.BEiT': Family('num_layers'),
    f'{_SEG}.mae.MAE': Family('num_layers'),
    f'{_SEG}.swin.SwinTransformer': Family('depths', 'position'),
    f'{_SEG}.mit.MixVisionTransformer': Family('num_layers'),
    f'{_SEG}.mscan.MSCAN': Family('depths'),
}
"""By full dotted name of the class."""


def family_of(backbone: nn.Module) -> Family:
    """Return the settings of a backbone's depth; ValueError if there are none known."""
    cls = type(backbone)
    family = FAMILIES.get(f'{cls.__module__}.{cls.__qualname__}')
    if family is not None:
        return family
    reason = 'has no known setting for that'
    depths = getattr(cls, 'arch_settings', None)
    if isinstance(depths, dict) and depths and all(isinstance(d, int) for d in depths):
        reason = f'supports fixed numbers of blocks only, for depth {sorted(depths)}'
    known = ', '.join(sorted(name.split('.models.backbones.')[-1] for name in FAMILIES))
    raise ValueError(
        f'No upstream config builds {cls.__name__} with these blocks: it {reason}. '
        f'Submodels of these can be extracted: {known}.'
    )


def keep_shifts(
    settings: dict,
    network: Network,
    stages: list[list[int]],
    kept: Kept,
    family: Family,
) -> None:
    """Keep shifted windows in the same blocks of a Swin, in place in its settings.

    ``stages`` are numbers of the full network's blocks. ValueError if it cannot be set.
    """
    blocks: dict[int, Any] = {site.depth: site.block for site in network.sites}
    left = [[number for number in stage if number in kept] for stage in stages]
    moved = [
        network.blocks[number]
        for stage in left
        for place, number in enumerate(stage)
        if (blocks[number].attn.shift_size > 0) != (place % 2 == 1)
    ]
    if moved and family.shift == 'position':
        raise ValueError(
            f"{moved[0]} would come where MMSegmentation's Swin shifts windows "
            'otherwise: there, shifted and unshifted ones alternate by place. Leave '
            'out two neighbours at a time, or the last ones of a stage. '
            '(mmpretrain.SwinTransformer has a setting for each block.)'
        )
    given = settings.get('stage_cfgs')
    extra = any(getattr(block, 'extra_norm', False) for block in blocks.values())
    if not (moved or given or extra):
        return
    settings['stage_cfgs'] = []
    for i, (stage, numbers) in enumerate(zip(stages, left, strict=True)):
        cfg = dict(_of_part(given, i))
        of_blocks = cfg.get('block_cfgs')
        cfg['block_cfgs'] = []
        for number in numbers:
            here = dict(_of_part(of_blocks, number - stage[0]))
            here['shift'] = blocks[number].attn.shift_size > 0
            if hasattr(blocks[number], 'extra_norm'):
                here['extra_norm'] = blocks[number].extra_norm
            cfg['block_cfgs'].append(here)
        settings['stage_cfgs'].append(cfg)


def _of_part(settings: Any, number: int) -> Any:
    """Return the settings of a stage or block, which may be one for all or none."""
    return settings[number] if isinstance(settings, Sequence) else settings or {}
