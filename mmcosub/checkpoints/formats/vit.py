"""Formats of ViT: mmpretrain's, timm's, DeiT III's, DINOv2's, mmseg's and others.

MAE's authors use timm's names. Transformers has two sets of names: those in files of
the hub, and those of version 5 in memory, which ``torch.save(model.state_dict())``
writes. The network's prefix there (``vit.``, ``dinov2.``) is ignored.
"""

from mmcosub.checkpoints.weights import State

from .table import family, joined

QKV = ('query', 'key', 'value')


def fused(state: State) -> State:
    """Fuse queries, keys and values, and the two inputs of a gated MLP."""
    return joined(joined(state, QKV, 'qkv.'), ('gate', 'up'), 'w12.')


def _from_timm(state: State) -> State:
    """Rename timm's gated MLP, which has the names of a plain one."""
    state = dict(state)
    for name in [name for name in state if name.endswith('.ffn.layers.1.weight')]:
        ffn = name.removesuffix('layers.1.weight')
        first = state.get(f'{ffn}layers.0.0.weight')
        if first is None or len(first) != 2 * state[name].shape[1]:
            continue
        for old, new in (('layers.0.0', 'w12'), ('layers.1', 'w3')):
            for part in ('weight', 'bias'):
                if f'{ffn}{old}.{part}' in state:
                    state[f'{ffn}{new}.{part}'] = state.pop(f'{ffn}{old}.{part}')
    return state


_TIMM = """
    patch_embed.proj=patch_embed.projection norm_pre=pre_norm
    blocks.*=layers.*: norm1=ln1 norm2=ln2 attn=attn
    blocks.*=layers.*: mlp.fc1=ffn.layers.0.0 mlp.fc2=ffn.layers.1
    fc_norm=ln2 norm=ln1 head=head.layers.head head_dist=head.layers.head_dist
"""
# Parameters of the block in DeiT III, modules in mmpretrain.
_DEIT_III = """
    blocks.*=layers.*: gamma_1=attn.gamma1.weight gamma_2=ffn.gamma2.weight
"""
_LAYER_SCALE = """
    blocks.*=layers.*: ls1.gamma=attn.gamma1.weight ls2.gamma=ffn.gamma2.weight
"""
_DINOV2 = """
    register_tokens=reg_token
    blocks.*=layers.*: mlp.w12=ffn.w12 mlp.w3=ffn.w3
"""
# To timm: a gated MLP has the names of a plain one.
_TIMM_GATED = """
    blocks.*=layers.*: mlp.fc1=ffn.w12 mlp.fc2=ffn.w3
"""
_MMSEG = """
    layers.*.attn=layers.*.attn: attn.in_proj_weight=qkv.weight
    layers.*.attn=layers.*.attn: attn.in_proj_bias=qkv.bias attn.out_proj=proj
    ln_pre=pre_norm
"""
_TORCHVISION_LAYER = 'encoder.layers.encoder_layer_*=layers.*:'
_TORCHVISION = f"""
    class_token=cls_token conv_proj=patch_embed.projection
    encoder.pos_embedding=pos_embed encoder.ln=ln1 heads.head=head.layers.head
    {_TORCHVISION_LAYER} ln_1=ln1 ln_2=ln2 self_attention.out_proj=attn.proj
    {_TORCHVISION_LAYER} self_attention.in_proj_weight=attn.qkv.weight
    {_TORCHVISION_LAYER} self_attention.in_proj_bias=attn.qkv.bias
    {_TORCHVISION_LAYER} mlp.0=ffn.layers.0.0 mlp.3=ffn.layers.1
    {_TORCHVISION_LAYER} mlp.linear_1=ffn.layers.0.0 mlp.linear_2=ffn.layers.1
"""  # linear_1 and linear_2 are of its first files
EMBEDDINGS = """
    embeddings=: cls_token=cls_token mask_token=mask_token register_tokens=reg_token
    embeddings=: distillation_token=dist_token position_embeddings=pos_embed
    embeddings=: patch_embeddings.projection=patch_embed.projection
"""
_CLASSIFIER = """
    layernorm=ln1 classifier=head.layers.head cls_classifier=head.layers.head
    distillation_classifier=head.layers.head_dist
"""
_LAYER = """
    {0}=layers.*: norm1=ln1 norm2=ln2
    {0}=layers.*: layer_scale1.lambda1=attn.gamma1.weight
    {0}=layers.*: layer_scale2.lambda1=ffn.gamma2.weight
    {0}.mlp=layers.*.ffn: weights_in=w12 weights_out=w3 gate_proj=gate up_proj=up
    {0}.mlp=layers.*.ffn: down_proj=w3
    {0}.attention.attention=layers.*.attn: query=query key=key value=value
    {0}=layers.*: attention.output.dense=attn.proj
    {0}=layers.*: intermediate.dense=ffn.layers.0.0 output.dense=ffn.layers.1
    {0}=layers.*: layernorm_before=ln1 layernorm_after=ln2
    {0}.attention=layers.*.attn: q_proj=query k_proj=key v_proj=value o_proj=proj
    {0}=layers.*: mlp.fc1=ffn.layers.0.0 mlp.fc2=ffn.layers.1
"""  # first in files of the hub, then in memory
_LAYERS = ''.join(map(_LAYER.format, ('encoder.layer.*', 'layers.*')))
_TRANSFORMERS = EMBEDDINGS + _LAYERS + _CLASSIFIER
_OURS = 'layers.0.attn.qkv layers.0.ln1'
_BLOCK = 'blocks.0.attn.qkv blocks.0.mlp.fc1'
_DEIT_III_MARKS = f'{_BLOCK} blocks.0.gamma_1'
_PATCHES = 'blocks.0.attn.qkv patch_embed.proj.weight'
_NAMES_DINOV2 = _DINOV2 + _LAYER_SCALE + _TIMM
_NAMES_TIMM = _LAYER_SCALE + _TIMM + _TIMM_GATED
_MMSEG_MARKS = 'layers.0.attn.attn.in_proj_weight layers.0.ffn.layers.0.0'
_TORCHVISION_MARKS = 'conv_proj encoder.layers.encoder_layer_0.ln_1'
_FIRST = 'encoder.layer.0.layer_scale1|encoder.layer.0.layernorm_before'
_TRANSFORMERS_MARKS = f'embeddings.cls_token {_FIRST}|layers.0.layernorm_before'

FORMATS = family(
    'ViT',
    ('mmpretrain ViT', f'layers.0.ffn.layers.0.0|layers.0.ffn.w12 {_OURS}'),
    ('mmseg ViT', _MMSEG_MARKS, _MMSEG),
    # Before timm's ViT, whose marks match as well.
    ('DeiT III', _DEIT_III_MARKS, _DEIT_III + _TIMM),
    # Giant or with registers; others have timm's names.
    ('DINOv2', f'register_tokens|blocks.0.mlp.w12 {_PATCHES}', _NAMES_DINOV2),
    ('timm ViT', f'{_BLOCK} patch_embed.proj.weight', _NAMES_TIMM, _from_timm),
    ('torchvision ViT', _TORCHVISION_MARKS, _TORCHVISION),
    # Also DeiT, DINOv2 and MAE.
    ('Transformers ViT', _TRANSFORMERS_MARKS, _TRANSFORMERS, fused),
)
