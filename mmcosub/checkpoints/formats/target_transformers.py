"""Settings of other libraries' ViT and BEiT, inferred from converted weights."""

import math
import re
from typing import Any

from mmcosub.checkpoints.weights import State


def count(state: State, pattern: str) -> int:
    """Count the modules whose names match a pattern with a number.

    Args:
        state (dict[str, Tensor]): Weights.
        pattern (str): Regular expression for the beginning of a name.
    """
    return len({m[0] for m in (re.match(pattern, name) for name in state) if m})


def _patches(state: State) -> dict:
    weight = state['patch_embed.projection.weight']
    return dict(dim=weight.shape[0], channels=weight.shape[1], size=weight.shape[2])


def vit_settings(state: State, target: str) -> dict:
    """Settings of a ViT or DeiT.

    Args:
        state (dict[str, Tensor]): Its weights, in mmpretrain's names.
        target (str): 'mmpretrain', 'mmseg' or 'timm'.
    """
    patch, depth = _patches(state), count(state, r'layers\.\d+\.')
    dim, size, gated = patch['dim'], patch['size'], 'layers.0.ffn.w12.weight' in state
    hidden = state[
        'layers.0.ffn.w12.weight' if gated else 'layers.0.ffn.layers.0.0.weight'
    ]
    tokens = sum(f'{name}_token' in state for name in ('cls', 'dist'))
    positions = state['pos_embed'].shape[1]
    bias, scaled = (
        'layers.0.attn.qkv.bias' in state,
        'layers.0.attn.gamma1.weight' in state,
    )
    if target == 'timm':
        from timm.layers import SwiGLUPacked
        from timm.models import vision_transformer

        distilled, free = 'dist_token' in state, {}
        if not distilled:
            registers = state.get('reg_token')
            free = dict(
                no_embed_class=True,
                reg_tokens=0 if registers is None else registers.shape[1],
                class_token='cls_token' in state,
                pre_norm='pre_norm.weight' in state,
                fc_norm='ln2.weight' in state,
                final_norm='ln1.weight' in state or 'ln2.weight' in state,
                global_pool='token' if 'ln1.weight' in state and tokens else 'avg',
                **(dict(mlp_layer=SwiGLUPacked) if gated else {}),
            )
            tokens = 0
        kind: Any = vision_transformer.VisionTransformer
        if distilled:
            from timm.models.deit import VisionTransformerDistilled

            kind = VisionTransformerDistilled
        return dict(
            type=kind, img_size=(size, size * (positions - tokens)), patch_size=size,
            in_chans=patch['channels'], embed_dim=dim, depth=depth, num_heads=1,
            mlp_ratio=len(hidden) / dim, qkv_bias=bias,
            init_values=1.0 if scaled else None, **free,
        )  # fmt: skip
    img_size = (size, size * (positions - tokens))
    if target == 'mmseg':
        return dict(
            type='mmseg.VisionTransformer', img_size=img_size, patch_size=size,
            in_channels=patch['channels'], embed_dims=dim, num_layers=depth,
            num_heads=1, mlp_ratio=len(hidden) // dim, qkv_bias=bias,
            pre_norm='pre_norm.weight' in state, final_norm='ln1.weight' in state,
        )  # fmt: skip
    arch = dict(embed_dims=dim, num_layers=depth, num_heads=1)
    arch['feedforward_channels'] = len(hidden) // 2 * 3 // 2 if gated else len(hidden)
    averaged = 'ln2.weight' in state
    return dict(
        type=('Distilled' if 'dist_token' in state else '') + 'VisionTransformer',
        arch=arch, img_size=img_size, patch_size=size, in_channels=patch['channels'],
        qkv_bias=bias, layer_scale_init_value=1.0 if scaled else 0.0,
        layer_cfgs=dict(ffn_type='swiglu_fused') if gated else {},
        pre_norm='pre_norm.weight' in state, final_norm='ln1.weight' in state,
        patch_cfg=dict(bias='patch_embed.projection.bias' in state),
        **({} if 'dist_token' in state else dict(
            out_type='avg_featmap' if averaged or not tokens else 'cls_token',
            with_cls_token=bool(tokens))),
    )  # fmt: skip


def beit_settings(state: State, target: str) -> dict:
    """Settings of a BEiT, EVA, EVA-02 or DINOv3.

    Args:
        state (dict[str, Tensor]): Its weights, in mmpretrain's names.
        target (str): 'mmpretrain', 'mmseg' or 'timm'.
    """
    patch, depth = _patches(state), count(state, r'layers\.\d+\.')
    dim, size = patch['dim'], patch['size']
    table = state.get('layers.0.attn.relative_position_bias_table')
    window = 1 if table is None else (math.isqrt(len(table) - 3) + 1) // 2
    if table is None and 'pos_embed' in state:
        window = math.isqrt(state['pos_embed'].shape[1])
    heads = 1 if table is None else table.shape[1]
    first = (
        'layers.0.mlp.fc1_g'
        if 'layers.0.mlp.fc1_g.weight' in state
        else ('layers.0.ffn.layers.0.0')
    )
    hidden = len(state[f'{first}.weight'])
    scaled, bias = 'layers.0.gamma_1' in state, 'layers.0.attn.q_bias' in state
    absolute, averaged = 'pos_embed' in state, 'ln2.weight' in state
    if target == 'timm':
        from timm.models import beit, eva

        common = dict(
            img_size=size * window, patch_size=size, in_chans=patch['channels'],
            embed_dim=dim, depth=depth, num_heads=heads, use_abs_pos_emb=absolute,
            init_values=1.0 if scaled else None, use_fc_norm=averaged,
        )  # fmt: skip
        if table is not None:
            return dict(
                type=beit.Beit, use_rel_pos_bias=True, mlp_ratio=hidden / dim,
                qkv_bias=bias, **common,
            )  # fmt: skip
        split, registers = (
            'layers.0.attn.q_proj.weight' in state,
            state.get('reg_token'),
        )
        out = state['layers.0.ffn.layers.1.weight'].shape[1]
        return dict(
            type=eva.Eva, qkv_fused=not split, qkv_bias=bias or (
                'layers.0.attn.q_proj.bias' in state), mlp_ratio=out / dim,
            swiglu_mlp=first.endswith('_g') or hidden == 2 * out,
            swiglu_align_to=int(first.endswith('_g')),
            scale_mlp='layers.0.mlp.norm.weight' in state,
            scale_attn_inner='layers.0.attn.norm.weight' in state,
            num_reg_tokens=0 if registers is None else registers.shape[1],
            use_post_transformer_norm='ln1.weight' in state, **common,
        )  # fmt: skip
    if target == 'mmseg':
        return dict(
            type='mmseg.BEiT', img_size=size * window, patch_size=size,
            in_channels=patch['channels'], embed_dims=dim, num_layers=depth,
            num_heads=heads, mlp_ratio=hidden // dim, qv_bias=bias,
            init_values=1.0 if scaled else None, final_norm='ln1.weight' in state,
        )  # fmt: skip
    arch = dict(
        embed_dims=dim, num_layers=depth, num_heads=heads, feedforward_channels=hidden
    )
    return dict(
        type='BEiTViT', arch=arch, img_size=size * window, patch_size=size,
        in_channels=patch['channels'], bias='qv_bias' if bias else False,
        final_norm='ln1.weight' in state, use_abs_pos_emb=absolute,
        out_type='avg_featmap' if averaged else 'cls_token',
        use_rel_pos_bias=table is not None, layer_scale_init_value=float(scaled),
    )  # fmt: skip
