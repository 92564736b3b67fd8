"""Formats of ViT: mmpretrain's, timm's, DeiT III's and mmseg's."""

from .adapt import fold_class_position, position_per_token
from .formats import Format, register_format

_TIMM = [
    ('patch_embed.proj', 'patch_embed.projection'),
    ('blocks.{}.norm1', 'layers.{}.ln1'),
    ('blocks.{}.norm2', 'layers.{}.ln2'),
    ('blocks.{}.mlp.fc1', 'layers.{}.ffn.layers.0.0'),
    ('blocks.{}.mlp.fc2', 'layers.{}.ffn.layers.1'),
    ('blocks.{}.attn', 'layers.{}.attn'),
    ('norm', 'ln1'),
    ('head', 'head.layers.head'),
]

register_format(
    Format(
        'mmpretrain ViT',
        'ViT',
        marks=['layers.0.attn.qkv', 'layers.0.ffn.layers.0.0', 'layers.0.ln1'],
    )
)
register_format(
    Format(
        'mmseg ViT',
        'ViT',
        marks=['layers.0.attn.attn.in_proj_weight', 'layers.0.ffn.layers.0.0'],
        names=[
            ('layers.{}.attn.attn.in_proj_weight', 'layers.{}.attn.qkv.weight'),
            ('layers.{}.attn.attn.in_proj_bias', 'layers.{}.attn.qkv.bias'),
            ('layers.{}.attn.attn.out_proj', 'layers.{}.attn.proj'),
        ],
    )
)
# Before timm's, whose marks fit as well.
register_format(
    Format(
        'DeiT III',
        'ViT',
        marks=['blocks.0.attn.qkv', 'blocks.0.mlp.fc1', 'blocks.0.gamma_1'],
        names=[
            # Parameters of the block in DeiT III, modules in mmpretrain.
            ('blocks.{}.gamma_1', 'layers.{}.attn.gamma1.weight'),
            ('blocks.{}.gamma_2', 'layers.{}.ffn.gamma2.weight'),
            *_TIMM,
        ],
        to_ours=position_per_token,
        from_ours=fold_class_position,
    )
)
register_format(
    Format(
        'timm ViT',
        'ViT',
        marks=['blocks.0.attn.qkv', 'blocks.0.mlp.fc1', 'patch_embed.proj.weight'],
        names=[
            ('blocks.{}.ls1.gamma', 'layers.{}.attn.gamma1.weight'),
            ('blocks.{}.ls2.gamma', 'layers.{}.ffn.gamma2.weight'),
            *_TIMM,
        ],
        to_ours=position_per_token,
    )
)
