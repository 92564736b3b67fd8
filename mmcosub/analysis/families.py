"""Upstream backbones whose configs allow fewer blocks."""

from dataclasses import dataclass

from torch import nn

_PRETRAIN = 'mmpretrain.models.backbones'
_SEG = 'mmseg.models.backbones'


@dataclass(frozen=True)
class Family:
    """Settings by which a backbone's config gives its number of blocks.

    Args:
        depth (str): Dotted key of the number of blocks, possibly by stage.
        shift (str): For shifted windows: 'block' if the config can set the shift of
            each block, 'position' if it depends on the block's place. Defaults to '':
            no shifted windows.
        empty_stages (bool): A stage may have no blocks. Defaults to True.
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
    """Return the settings by which a backbone's config gives its depth.

    Raises:
        ValueError: If it cannot, or is not known.
    """
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
