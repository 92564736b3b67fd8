"""Files of Transformers compute here what they computed there.

timm's implementations stand for Transformers', under the names of the hub's files.
"""

import pytest
import torch
from checkpoints.test_starting_points import (
    assert_same_features,
    by_timm,
    carry,
    renamed,
    theirs,
    vit,
)

COMMON = [
    ('^cls_token', 'embeddings.cls_token'),
    ('^reg_token', 'embeddings.register_tokens'),
    ('^pos_embed', 'embeddings.position_embeddings'),
]
STEM = [
    *COMMON,
    (r'^patch_embed\.proj', 'embeddings.patch_embeddings.projection'),
    (r'^norm\.', 'layernorm.'),
]
HUB = [
    (r'attn\.proj', 'attention.output.dense'),
    (r'attn\.(query|key|value)', r'attention.attention.\1'),
]
IN_MEMORY = [  # of version 5
    (r'attn\.proj', 'attention.o_proj'),
    (r'attn\.(q|k|v)(uery|ey|alue)', r'attention.\1_proj'),
]
NORMS = [('norm1', 'layernorm_before'), ('norm2', 'layernorm_after')]
MLP = [(r'mlp\.fc1', 'intermediate.dense'), (r'mlp\.fc2', 'output.dense')]
VIT = {
    'hub': [*STEM, *HUB, *NORMS, *MLP, ('^blocks', 'encoder.layer')],
    'memory': [*STEM, *IN_MEMORY, *NORMS, ('^blocks', 'layers')],
}
LAYER_SCALE = [(r'(?:ls|gamma_)([12])(\.gamma)?$', r'layer_scale\1.lambda1')]
DINOV2 = {
    kind: [*STEM, *names, *LAYER_SCALE, ('^blocks', 'encoder.layer')]
    for kind, names in (('hub', HUB), ('memory', IN_MEMORY))
}
GIANT = {
    'hub': [(r'mlp\.fc1', 'mlp.weights_in'), (r'mlp\.fc2', 'mlp.weights_out')],
    'memory': [(r'mlp\.fc2', 'mlp.down_proj')],
}
DINOV3 = [
    *COMMON,
    *LAYER_SCALE,
    (r'^patch_embed\.proj', 'embeddings.patch_embeddings'),
    ('^blocks', 'layer'),
    (r'attn\.proj', 'attention.o_proj'),
    (r'mlp\.fc1_g', 'mlp.gate_proj'),
    (r'mlp\.fc1(_x)?', 'mlp.up_proj'),
    (r'mlp\.fc2', 'mlp.down_proj'),
]


def apart(state: dict) -> dict:
    """Weights with projections of queries, keys and values of their own."""
    result = {}
    for name, value in state.items():
        if '.attn.qkv.' in name:
            for part, own in zip(
                ('query', 'key', 'value'), value.chunk(3), strict=True
            ):
                result[name.replace('qkv', part)] = own.clone()
        else:
            result[name] = value
    return result


@pytest.mark.parametrize('kind', VIT)
@pytest.mark.parametrize('prefix', ['', 'vit.'])
def test_vit_and_mae(prefix, kind, tmp_path):
    model = theirs('vit_base_patch16_224', patch=16)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith('head')}
    state = renamed(apart(state), *VIT[kind])
    state['pooler.dense.weight'] = torch.zeros(32, 32)
    state = {prefix + name: value for name, value in state.items()}
    backbone = vit(patch=16)
    report = carry(backbone, state, tmp_path)
    assert report.match == 1
    assert not report.unused
    assert 'Transformers ViT' in str(report)
    assert_same_features(model, backbone, 64)


@pytest.mark.parametrize('kind', VIT)
def test_deit(kind, tmp_path):
    model = theirs('deit_tiny_distilled_patch16_224', patch=16)
    state = renamed(apart(model.state_dict()), *VIT[kind])
    state = {f'deit.{k}': v for k, v in state.items() if not k.startswith('head')}
    state['deit.embeddings.distillation_token'] = state.pop('deit.dist_token')
    state['cls_classifier.weight'] = torch.zeros(2, 32)
    state['distillation_classifier.weight'] = torch.zeros(2, 32)
    backbone = vit(patch=16)
    report = carry(backbone, state, tmp_path)
    assert report.match == 1
    assert torch.equal(
        backbone.layers[1].attn.qkv.weight, model.blocks[1].attn.qkv.weight
    )


@pytest.mark.parametrize('kind', DINOV2)
def test_dinov2(kind, tmp_path):
    model = theirs('vit_small_patch14_dinov2')
    state = renamed(apart(model.state_dict()), *DINOV2[kind])
    state['embeddings.mask_token'] = torch.zeros(1, 32)
    backbone = vit(layer_scale_init_value=1e-5)
    report = carry(backbone, state, tmp_path)
    assert report.match == 1
    assert not report.unused
    assert_same_features(model, backbone)


@pytest.mark.parametrize('kind', GIANT)
def test_dinov2_giant(kind, tmp_path):
    name = 'vit_giant_patch14_dinov2'
    model = theirs(name, mlp_ratio=4)
    state = renamed(apart(model.state_dict()), *DINOV2[kind], *GIANT[kind])
    for key in [key for key in state if kind == 'memory' and 'mlp.fc1' in key]:
        for part, value in zip(('gate', 'up'), state.pop(key).chunk(2), strict=True):
            state[key.replace('fc1', f'{part}_proj')] = value
    backbone = by_timm(name, mlp_ratio=4)
    assert carry(backbone, state, tmp_path).match == 1
    assert_same_features(model, backbone)


@pytest.mark.parametrize('bias', ['', '_qkvb'])
@pytest.mark.parametrize('kind', ['small', 'small_plus'])
def test_dinov3(kind, bias, tmp_path):
    name = f'vit_{kind}_patch16_dinov3{bias}'
    model = theirs(name, patch=16)
    state = {}
    for key, value in apart(model.state_dict()).items():
        key = key.replace('q_bias', 'query.bias').replace('v_bias', 'value.bias')
        state[key] = value
    if not bias:  # Transformers has them always, zeros where there were none
        for i in range(2):
            for part in ('query', 'value'):
                state[f'blocks.{i}.attn.{part}.bias'] = torch.zeros(32)
    names = [
        (f'attn.{part}', f'attention.{part[0]}_proj')
        for part in ('query', 'key', 'value')
    ]
    state = renamed(state, *DINOV3, *names)
    backbone = by_timm(name, patch=16)
    report = carry(backbone, state, tmp_path)
    assert report.match == 1
    assert not report.unused
    assert_same_features(model, backbone, 64)
