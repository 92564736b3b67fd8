"""Formats of ViT: mmpretrain's, timm's, DeiT III's, DINOv2's and mmseg's.

MAE's authors use timm's names.
"""

import re

from mmcosub.checkpoints.positions import fold_class_position, position_per_token
from mmcosub.checkpoints.reading import State

from .table import Format, register_format

_TIMM = [
    ('patch_embed.proj', 'patch_embed.projection'),
    ('norm_pre', 'pre_norm'),
    ('blocks.{}.norm1', 'layers.{}.ln1'),
    ('blocks.{}.norm2', 'layers.{}.ln2'),
    ('blocks.{}.mlp.fc1', 'layers.{}.ffn.layers.0.0'),
    ('blocks.{}.mlp.fc2', 'layers.{}.ffn.layers.1'),
    ('blocks.{}.attn', 'layers.{}.attn'),
    ('norm_pre', 'pre_norm'),
    ('fc_norm', 'ln2'),
    ('norm', 'ln1'),
    ('head', 'head.layers.head'),
    ('head_dist', 'head.layers.head_dist'),
]

for _name, _mark in (
    ('mmpretrain ViT', 'layers.0.ffn.layers.0.0'),
    ('mmpretrain ViT, gated', 'layers.0.ffn.w12'),
):
    register_format(
        Format(_name, 'ViT', marks=[_mark, 'layers.0.attn.qkv', 'layers.0.ln1'])
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
            ('ln_pre', 'pre_norm'),
        ],
    )
)
# Registered before timm's ViT, whose marks match as well.
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
_LAYER_SCALE = [
    ('blocks.{}.ls1.gamma', 'layers.{}.attn.gamma1.weight'),
    ('blocks.{}.ls2.gamma', 'layers.{}.ffn.gamma2.weight'),
]
_GATED = [
    ('blocks.{}.mlp.w12', 'layers.{}.ffn.w12'),
    ('blocks.{}.mlp.w3', 'layers.{}.ffn.w3'),
]
# Other DINOv2 models use timm's names.
for _name, _mark in (
    ('DINOv2 with registers', 'register_tokens'),
    ('DINOv2, giant', 'blocks.0.mlp.w12'),
):
    register_format(
        Format(
            _name,
            'ViT',
            marks=[_mark, 'blocks.0.attn.qkv', 'patch_embed.proj.weight'],
            names=[('register_tokens', 'reg_token'), *_GATED, *_LAYER_SCALE, *_TIMM],
        )
    )


def _gated(state: State) -> State:
    """Rename timm's gated MLP, which has the names of a plain one."""
    renamed: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'(layers\.\d+\.ffn)\.layers\.(0\.0|1)\.(\w+)', name)
        second = match and state.get(f'{match[1]}.layers.1.weight')
        first = match and state.get(f'{match[1]}.layers.0.0.weight')
        if (
            match
            and second is not None
            and first is not None
            and first.shape[0] == 2 * second.shape[1]
        ):
            name = f'{match[1]}.{"w12" if match[2] == "0.0" else "w3"}.{match[3]}'
        renamed[name] = value
    return renamed


def _timm_to_ours(state: State) -> State:
    return position_per_token(_gated(state))


register_format(
    Format(
        'timm ViT',
        'ViT',
        marks=['blocks.0.attn.qkv', 'blocks.0.mlp.fc1', 'patch_embed.proj.weight'],
        names=[
            *_LAYER_SCALE,
            *_TIMM,
            # To timm: a gated MLP has the names of a plain one.
            ('blocks.{}.mlp.fc1', 'layers.{}.ffn.w12'),
            ('blocks.{}.mlp.fc2', 'layers.{}.ffn.w3'),
        ],
        to_ours=_timm_to_ours,
    )
)
_TORCHVISION = 'encoder.layers.encoder_layer_{}'
register_format(
    Format(
        'torchvision ViT',
        'ViT',
        marks=['conv_proj', 'encoder.layers.encoder_layer_0.ln_1'],
        names=[
            ('class_token', 'cls_token'),
            ('conv_proj', 'patch_embed.projection'),
            ('encoder.pos_embedding', 'pos_embed'),
            *(
                (f'{_TORCHVISION}.{theirs}', f'layers.{{}}.{ours}')
                for theirs, ours in (
                    ('ln_1', 'ln1'),
                    ('self_attention.in_proj_weight', 'attn.qkv.weight'),
                    ('self_attention.in_proj_bias', 'attn.qkv.bias'),
                    ('self_attention.out_proj', 'attn.proj'),
                    ('ln_2', 'ln2'),
                    ('mlp.0', 'ffn.layers.0.0'),
                    ('mlp.3', 'ffn.layers.1'),
                    ('mlp.linear_1', 'ffn.layers.0.0'),  # of its first files
                    ('mlp.linear_2', 'ffn.layers.1'),
                )
            ),
            ('encoder.ln', 'ln1'),
            ('heads.head', 'head.layers.head'),
        ],
    )
)
