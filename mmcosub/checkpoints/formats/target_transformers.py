"""Settings of other libraries' transformers, inferred from converted weights.

Weights are in mmpretrain's names; ``target`` is 'mmpretrain', 'mmseg' or 'timm', whose
settings have mmpretrain's names, too, where it has them.
"""

import math
import re

from mmcosub.checkpoints.weights import State

from .table import TABLE


def count(state: State, pattern: str) -> int:
    """Count the different beginnings of names that match."""
    return len({m[0] for m in (re.match(pattern, name) for name in state) if m})


def outputs(state: State) -> tuple[int, ...]:
    """Return the stages with a norm of their own."""
    return tuple(i for i in range(4) if f'norm{i}.weight' in state) or (3,)


def vit(state: State, target: str) -> dict:
    """Settings of a ViT or DeiT."""
    dim, channels, size = state['patch_embed.projection.weight'].shape[:3]
    depth = count(state, r'layers\.\d+\.')
    gated, scaled = 'layers.0.ffn.w12.weight', 'layers.0.attn.gamma1.weight' in state
    hidden = len(state[gated if gated in state else 'layers.0.ffn.layers.0.0.weight'])
    distilled, averaged = 'dist_token' in state, 'ln2.weight' in state
    tokens = ('cls_token' in state) + distilled
    last, registers = 'ln1.weight' in state, state.get('reg_token')
    positions = state['pos_embed'].shape[1]
    sizes = dict(embed_dims=dim, num_layers=depth, num_heads=1)
    bias = 'layers.0.attn.qkv.bias' in state
    common: dict = dict(patch_size=size, in_channels=channels, qkv_bias=bias)
    if target == 'timm':
        rest = dict(
            no_embed_class=True, pre_norm='pre_norm.weight' in state,
            reg_tokens=0 if registers is None else registers.shape[1],
            class_token='cls_token' in state, fc_norm=averaged,
            final_norm=last or averaged,
            global_pool='token' if last and tokens else 'avg',
        )  # fmt: skip
        if gated in state:
            from timm.layers import SwiGLUPacked

            rest['mlp_layer'] = SwiGLUPacked
        plain = 'vision_transformer.VisionTransformer'
        return dict(
            type='deit.VisionTransformerDistilled' if distilled else plain,
            img_size=(size, size * (positions - tokens * distilled)),
            mlp_ratio=hidden / dim, init_values=1.0 if scaled else None,
            **sizes, **common, **({} if distilled else rest),
        )  # fmt: skip
    common |= dict(
        img_size=(size, size * (positions - tokens)), final_norm=last,
        pre_norm='pre_norm.weight' in state,
    )  # fmt: skip
    if target == 'mmseg':
        ratio = hidden // dim
        return dict(type='mmseg.VisionTransformer', mlp_ratio=ratio, **sizes, **common)
    if not distilled:
        pooled = 'avg_featmap' if averaged or not tokens else 'cls_token'
        common |= dict(out_type=pooled, with_cls_token=bool(tokens))
    if gated in state:
        common['layer_cfgs'] = dict(ffn_type='swiglu_fused')
        hidden = hidden // 2 * 3 // 2
    return dict(
        type=('Distilled' if distilled else '') + 'VisionTransformer',
        arch=dict(feedforward_channels=hidden, **sizes),
        layer_scale_init_value=float(scaled),
        patch_cfg=dict(bias='patch_embed.projection.bias' in state), **common,
    )  # fmt: skip


def beit(state: State, target: str) -> dict:
    """Settings of a BEiT, EVA, EVA-02 or DINOv3."""
    dim, channels, size = state['patch_embed.projection.weight'].shape[:3]
    depth = count(state, r'layers\.\d+\.')
    table = state.get(f'layers.0.attn.{TABLE}')
    absolute, averaged = 'pos_embed' in state, 'ln2.weight' in state
    window, heads = 1, 1
    if table is not None:
        window, heads = (math.isqrt(len(table) - 3) + 1) // 2, table.shape[1]
    elif absolute:
        window = math.isqrt(state['pos_embed'].shape[1])
    split = 'layers.0.mlp.fc1_g.weight'
    hidden = len(state[split if split in state else 'layers.0.ffn.layers.0.0.weight'])
    scaled, bias = 'layers.0.gamma_1' in state, 'layers.0.attn.q_bias' in state
    last = 'ln1.weight' in state
    sizes = dict(embed_dims=dim, num_layers=depth, num_heads=heads)
    common: dict = dict(img_size=size * window, patch_size=size, in_channels=channels)
    if target == 'timm':
        common |= dict(
            use_abs_pos_emb=absolute, use_fc_norm=averaged,
            init_values=1.0 if scaled else None, **sizes,
        )  # fmt: skip
        if table is not None:
            common |= dict(use_rel_pos_bias=True, mlp_ratio=hidden / dim)
            return dict(type='beit.Beit', qkv_bias=bias, **common)
        out = state['layers.0.ffn.layers.1.weight'].shape[1]
        registers = state.get('reg_token')
        return dict(
            type='eva.Eva', qkv_fused='layers.0.attn.q_proj.weight' not in state,
            qkv_bias=bias or 'layers.0.attn.q_proj.bias' in state,
            mlp_ratio=out / dim, swiglu_mlp=split in state or hidden == 2 * out,
            swiglu_align_to=int(split in state),
            scale_mlp='layers.0.mlp.norm.weight' in state,
            scale_attn_inner='layers.0.attn.norm.weight' in state,
            num_reg_tokens=0 if registers is None else registers.shape[1],
            use_post_transformer_norm=last, **common,
        )  # fmt: skip
    common['final_norm'] = last
    if target == 'mmseg':
        return dict(
            type='mmseg.BEiT', mlp_ratio=hidden // dim, qv_bias=bias,
            init_values=1.0 if scaled else None, **sizes, **common,
        )  # fmt: skip
    return dict(
        type='BEiTViT', arch=dict(feedforward_channels=hidden, **sizes),
        bias='qv_bias' if bias else False, use_abs_pos_emb=absolute,
        out_type='avg_featmap' if averaged else 'cls_token',
        use_rel_pos_bias=table is not None, layer_scale_init_value=float(scaled),
        **common,
    )  # fmt: skip


def swin(state: State, target: str) -> dict:
    """Settings of a Swin."""
    dim, channels, size = state['patch_embed.projection.weight'].shape[:3]
    stages = range(count(state, r'stages\.\d+\.blocks'))
    tables = [state[f'stages.{i}.blocks.0.attn.w_msa.{TABLE}'] for i in stages]
    window = (math.isqrt(len(tables[0])) + 1) // 2
    depths = [count(state, rf'stages\.{i}\.blocks\.\d+\.') for i in stages]
    heads = [table.shape[1] for table in tables]
    sizes: dict = dict(embed_dims=dim, depths=depths, num_heads=heads)
    common: dict = dict(window_size=window, patch_size=size, in_channels=channels)
    if target == 'timm':
        side = size * window * 2 ** (len(stages) - 1)
        kind = 'swin_transformer.SwinTransformer'
        return dict(type=kind, img_size=side, **sizes, **common)
    if target == 'mmseg':
        return dict(
            type='mmseg.SwinTransformer', strides=(size, 2, 2, 2),
            out_indices=outputs(state), **sizes, **common,
        )  # fmt: skip
    common['out_indices'] = (len(stages) - 1,)
    return dict(type='SwinTransformer', arch=sizes, **common)


def xcit(state: State, target: str) -> dict:
    """Settings of an XCiT."""
    dim = state['cls_token'].shape[2]
    common = dict(
        embed_dims=dim,
        patch_size=2 ** count(state, r'patch_embed\.proj\.\d+\.conv'),
        depth=count(state, r'xca_layers\.\d+\.'),
        num_heads=len(state['xca_layers.0.attn.temperature']),
        cls_attn_layers=count(state, r'ca_layers\.\d+\.'),
        use_pos_embed='pos_embed.token_projection.conv.weight' in state,
        mlp_ratio=len(state['xca_layers.0.ffn.layers.0.0.weight']) / dim,
    )
    if target == 'timm':
        return dict(type='xcit.Xcit', eta=1.0, **common)
    return dict(type='XCiT', **common)


def mit(state: State, target: str) -> dict | None:
    """Settings of a MiT, which only mmseg has."""
    if target != 'mmseg':
        return None
    patches = [state[f'layers.{i}.0.projection.weight'] for i in range(4)]
    ratios = [state.get(f'layers.{i}.1.0.attn.sr.weight') for i in range(4)]
    dim = len(patches[0])
    return dict(
        type='mmseg.MixVisionTransformer', embed_dims=dim,
        in_channels=patches[0].shape[1],
        num_layers=[count(state, rf'layers\.{i}\.1\.\d+\.') for i in range(4)],
        num_heads=[len(each) // dim for each in patches],
        sr_ratios=[1 if each is None else each.shape[2] for each in ratios],
        mlp_ratio=len(state['layers.0.1.0.ffn.layers.0.weight']) // dim,
    )  # fmt: skip
