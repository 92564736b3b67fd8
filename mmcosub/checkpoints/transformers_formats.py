"""Formats of Hugging Face's Transformers: its ViT, MAE, DINOv2 and DINOv3.

They are the names in the files of the hub. A prefix of the network (``vit.``,
``dinov2.``) is passed over.
"""

import re

import torch

from .formats import Format, register_format
from .reading import State

_PARTS = ('query', 'key', 'value')


def _fused(state: State) -> State:
    """One projection for queries, keys and values."""
    fused: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.+\.attn\.)(query|key|value)\.(weight|bias)', name)
        if not match:
            fused[name] = value
            continue
        attention, _, kind = match.groups()
        parts = [state.get(f'{attention}{part}.{kind}') for part in _PARTS]
        known = next(part for part in parts if part is not None)
        fused[f'{attention}qkv.{kind}'] = torch.cat(
            [torch.zeros_like(known) if part is None else part for part in parts]
        )
    return fused


def _fused_weights(state: State) -> State:
    """The same of weights; DINOv3's keys have no bias, and timm keeps the others."""
    rest: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.+\.attn\.)(query|key|value)\.bias', name)
        if not match:
            rest[name] = value
        elif match[2] != 'key':
            rest[f'{match[1]}{match[2][0]}_bias'] = value
    return _fused(rest)


_EMBEDDINGS = [
    ('embeddings.cls_token', 'cls_token'),
    ('embeddings.mask_token', 'mask_token'),
    ('embeddings.register_tokens', 'reg_token'),
    ('embeddings.position_embeddings', 'pos_embed'),
    ('embeddings.patch_embeddings.projection', 'patch_embed.projection'),
]
_LAYER = 'encoder.layer.{}'
_ATTENTION = [
    *(
        (f'{_LAYER}.attention.attention.{part}', f'layers.{{}}.attn.{part}')
        for part in _PARTS
    ),
    (f'{_LAYER}.attention.output.dense', 'layers.{}.attn.proj'),
]
_CLASSIFIER = [('layernorm', 'ln1'), ('classifier', 'head.layers.head')]

register_format(
    Format(
        'Transformers ViT',
        'ViT',
        marks=['encoder.layer.0.layernorm_before', 'embeddings.cls_token'],
        names=[
            *_EMBEDDINGS,
            *_ATTENTION,
            (f'{_LAYER}.layernorm_before', 'layers.{}.ln1'),
            (f'{_LAYER}.layernorm_after', 'layers.{}.ln2'),
            (f'{_LAYER}.intermediate.dense', 'layers.{}.ffn.layers.0.0'),
            (f'{_LAYER}.output.dense', 'layers.{}.ffn.layers.1'),
            *_CLASSIFIER,
        ],
        to_ours=_fused,
    )
)
register_format(
    Format(
        'Transformers DINOv2',
        'ViT',
        marks=['encoder.layer.0.layer_scale1.lambda1', 'embeddings.cls_token'],
        names=[
            *_EMBEDDINGS,
            *_ATTENTION,
            (f'{_LAYER}.norm1', 'layers.{}.ln1'),
            (f'{_LAYER}.norm2', 'layers.{}.ln2'),
            (f'{_LAYER}.layer_scale1.lambda1', 'layers.{}.attn.gamma1.weight'),
            (f'{_LAYER}.layer_scale2.lambda1', 'layers.{}.ffn.gamma2.weight'),
            (f'{_LAYER}.mlp.fc1', 'layers.{}.ffn.layers.0.0'),
            (f'{_LAYER}.mlp.fc2', 'layers.{}.ffn.layers.1'),
            (f'{_LAYER}.mlp.weights_in', 'layers.{}.ffn.w12'),
            (f'{_LAYER}.mlp.weights_out', 'layers.{}.ffn.w3'),
            *_CLASSIFIER,
        ],
        to_ours=_fused,
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
