"""Formats of Hugging Face's Transformers: ViT, MAE, DeiT, DINOv2, DINOv3 and BEiT.

Each has two sets of names: those in files of the hub, and those of version 5 in memory,
which ``torch.save(model.state_dict())`` writes. The network's prefix (``vit.``,
``dinov2.``) is ignored.
"""

import re

import torch

from mmcosub.checkpoints.reading import State

from .beit import own_tables
from .table import Format, register_format

_PARTS, _GATED = ('query', 'key', 'value'), ('gate', 'up')


def fused(state: State) -> State:
    """Fuse queries, keys and values, and the two inputs of a gated MLP."""
    result: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.+\.)(query|key|value|gate|up)\.(weight|bias)', name)
        if not match:
            result[name] = value
            continue
        module, part, kind = match.groups()
        both = part in ('gate', 'up')
        parts = [state.get(f'{module}{p}.{kind}') for p in (_GATED if both else _PARTS)]
        result[f'{module}{"w12" if both else "qkv"}.{kind}'] = torch.cat(
            [torch.zeros_like(value) if each is None else each for each in parts]
        )
    return result


def _fused_weights(state: State) -> State:
    """Fuse the weights; DINOv3's keys have no bias."""
    rest: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.+\.attn\.)(query|key|value)\.bias', name)
        if not match:
            rest[name] = value
        elif match[2] != 'key':
            rest[f'{match[1]}{match[2][0]}_bias'] = value
    return fused(rest)


def _beit(state: State) -> State:
    return own_tables(_fused_weights(state))


_EMBEDDINGS = [
    ('embeddings.cls_token', 'cls_token'),
    ('embeddings.distillation_token', 'dist_token'),
    ('embeddings.mask_token', 'mask_token'),
    ('embeddings.register_tokens', 'reg_token'),
    ('embeddings.position_embeddings', 'pos_embed'),
    ('embeddings.patch_embeddings.projection', 'patch_embed.projection'),
]
_CLASSIFIER = [
    ('layernorm', 'ln1'),
    ('pooler.layernorm', 'ln2'),  # BEiT's, of averaged patches
    ('classifier', 'head.layers.head'),
    ('cls_classifier', 'head.layers.head'),
    ('distillation_classifier', 'head.layers.head_dist'),
]
# Parts of a layer, in Transformers and here: on the hub, in memory, and in both.
_HUB = {
    **{f'attention.attention.{part}': f'attn.{part}' for part in _PARTS},
    'attention.output.dense': 'attn.proj',
    'intermediate.dense': 'ffn.layers.0.0',
    'output.dense': 'ffn.layers.1',
}
_IN_MEMORY = {
    **{f'attention.{part[0]}_proj': f'attn.{part}' for part in _PARTS},
    'attention.o_proj': 'attn.proj',
}
_MLP = {'mlp.fc1': 'ffn.layers.0.0', 'mlp.fc2': 'ffn.layers.1'}
_NORMS = {'layernorm_before': 'ln1', 'layernorm_after': 'ln2'}
_TABLE = 'relative_position_bias'
_BEIT = {
    f'attention.attention.{_TABLE}': 'attn',
    _TABLE: 'attn',
    'lambda_1': 'gamma_1',
    'lambda_2': 'gamma_2',
}
_DINOV2 = {
    'norm1': 'ln1',
    'norm2': 'ln2',
    'layer_scale1.lambda1': 'attn.gamma1.weight',
    'layer_scale2.lambda1': 'ffn.gamma2.weight',
    'mlp.weights_in': 'ffn.w12',
    'mlp.weights_out': 'ffn.w3',
    'mlp.gate_proj': 'ffn.gate',
    'mlp.up_proj': 'ffn.up',
    'mlp.down_proj': 'ffn.w3',
}


def _names(layer: str, parts: dict[str, str]) -> list[tuple[str, str]]:
    inner = [
        (f'{layer}.{theirs}', f'layers.{{}}.{ours}') for theirs, ours in parts.items()
    ]
    shared = ('encoder.relative_position_bias', 'rel_pos_bias')
    return [*_EMBEDDINGS, *inner, shared, *_CLASSIFIER]


_ENCODER, _LAYER = 'encoder.layer.{}', 'layers.{}'
for _name, _mark, _layer, _parts, _to_ours in (
    ('BEiT', 'lambda_1', _ENCODER, _HUB | _NORMS | _BEIT, _beit),
    ('BEiT', 'lambda_1', _LAYER, _IN_MEMORY | _MLP | _NORMS | _BEIT, _beit),
    ('ViT', 'layernorm_before', _ENCODER, _HUB | _NORMS, fused),
    ('ViT', 'layernorm_before', _LAYER, _IN_MEMORY | _MLP | _NORMS, fused),
    ('DINOv2', 'layer_scale1', _ENCODER, _HUB | _IN_MEMORY | _MLP | _DINOV2, fused),
):
    register_format(
        Format(
            f'Transformers {_name}' + (', in memory' if _layer == _LAYER else ''),
            'BEiT' if _name == 'BEiT' else 'ViT',
            marks=[f'{_layer.format(0)}.{_mark}', 'embeddings.cls_token'],
            names=_names(_layer, _parts),
            to_ours=_to_ours,
        )
    )
for _name, _mark, _up in (
    ('Transformers DINOv3, gated', 'layer.0.mlp.gate_proj', 'mlp.fc1_x'),
    ('Transformers DINOv3', 'layer.0.mlp.up_proj', 'ffn.layers.0.0'),
):
    register_format(
        Format(
            _name,
            'BEiT',
            marks=[_mark, 'embeddings.register_tokens'],
            names=[
                ('embeddings.patch_embeddings', 'patch_embed.projection'),
                *_EMBEDDINGS,
                *(
                    (f'layer.{{}}.attention.{p[0]}_proj', f'layers.{{}}.attn.{p}')
                    for p in _PARTS
                ),
                ('layer.{}.attention.o_proj', 'layers.{}.attn.proj'),
                ('layer.{}.norm1', 'layers.{}.ln1'),
                ('layer.{}.norm2', 'layers.{}.ln2'),
                ('layer.{}.layer_scale1.lambda1', 'layers.{}.gamma_1'),
                ('layer.{}.layer_scale2.lambda1', 'layers.{}.gamma_2'),
                ('layer.{}.mlp.gate_proj', 'layers.{}.mlp.fc1_g'),
                ('layer.{}.mlp.up_proj', f'layers.{{}}.{_up}'),
                ('layer.{}.mlp.down_proj', 'layers.{}.ffn.layers.1'),
                ('norm', 'ln1'),
            ],
            to_ours=_fused_weights,
        )
    )
