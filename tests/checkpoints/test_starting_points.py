"""What others have pretrained computes here what it computed there.

From random weights under the names of the authors' files, features of the first and the
last layer. timm's implementations stand for the authors'.
"""

import re
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmcosub.checkpoints import load_backbone
from mmcosub.checkpoints.adapt import resize_patches

SMALL = dict(embed_dim=32, num_heads=2, depth=2)
OURS = dict(embed_dims=32, num_layers=2, num_heads=2)
SIZE = 56


def randomise(model):
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        mean = 1.0 if re.search(r'(norm|bn)\d*\.weight', name) else 0.0
        nn.init.normal_(parameter, mean, 0.1, generator=generator)
    for name, buffer in model.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 2, generator=generator)
    model.eval()
    return model


def theirs(name, patch=14, **kwargs):
    size = dict(img_size=patch * 4, patch_size=patch)
    return randomise(timm.create_model(name, **{**size, **SMALL, **kwargs}))


def ours(**cfg):
    init_default_scope('mmseg')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch.meshgrid's
        model = MODELS.build(cfg)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    model.eval()
    return model


def vit(patch=14, channels=128, **kwargs):
    return ours(
        type='mmpretrain.VisionTransformer',
        arch=dict(feedforward_channels=channels, **OURS),
        img_size=patch * 4,
        patch_size=patch,
        out_type='featmap',
        out_indices=(0, 1),
        final_norm=False,
        **kwargs,
    )


def by_timm(name, patch=14, **kwargs):
    return ours(
        type='mmpretrain.TIMMBackbone',
        model_name=name,
        features_only=True,
        out_indices=(0, 1),
        **{**dict(img_size=patch * 4, patch_size=patch), **SMALL, **kwargs},
    )


def renamed(state, *names):
    """Weights by other names: pairs of an expression and what it becomes."""
    result = {}
    for name, value in state.items():
        for pattern, target in names:
            name = re.sub(pattern, target, name)
        result[name] = value
    return result


def carry(backbone, state, tmp_path):
    torch.save(state, tmp_path / 'a.pth')
    return load_backbone(backbone, str(tmp_path / 'a.pth'))


def assert_same_features(model, backbone, size=SIZE):
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = model.forward_intermediates(
            images, indices=[0, 1], intermediates_only=True
        )
        got = backbone(images)
    for a, b in zip(got, expected, strict=True):
        assert b.std() > 1e-2
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_dinov2(tmp_path):
    model = theirs('vit_small_patch14_dinov2')
    backbone = vit(layer_scale_init_value=1e-5)
    state = {**model.state_dict(), 'mask_token': torch.zeros(1, 32)}
    report = carry(backbone, state, tmp_path)
    assert report.match == 1
    assert not report.done + report.unused
    assert_same_features(model, backbone)


def with_class_position(state):
    """A class token with a position, as DINOv2's authors have it."""
    position = torch.full((1, 1, 32), 0.25)
    return {
        **state,
        'cls_token': state['cls_token'] - position,
        'pos_embed': torch.cat([position, state['pos_embed']], dim=1),
    }


def test_dinov2_with_registers(tmp_path):
    name = 'vit_small_patch14_reg4_dinov2'
    model = theirs(name)
    state = with_class_position(model.state_dict())
    state = renamed(state, ('reg_token', 'register_tokens'))
    backbone = by_timm(name)
    assert carry(backbone, state, tmp_path).match == 1
    assert_same_features(model, backbone)
    with pytest.raises(ValueError, match=r'parts inside .* lacks: reg_token'):
        carry(vit(layer_scale_init_value=1e-5), state, tmp_path)


@pytest.mark.parametrize('names', ['timm', 'authors'])
def test_dinov2_giant(names, tmp_path):
    model = theirs('vit_giant_patch14_dinov2', mlp_ratio=4)
    state = model.state_dict()
    if names == 'authors':
        state = renamed(state, (r'mlp\.fc1', 'mlp.w12'), (r'mlp\.fc2', 'mlp.w3'))
    layer = dict(ffn_type='swiglu_fused')
    backbone = vit(channels=96, layer_scale_init_value=1e-5, layer_cfgs=layer)
    assert carry(backbone, state, tmp_path).match == 1
    assert_same_features(model, backbone)
    # LayerScale is multiplied into the projection before it where there is none.
    backbone = vit(channels=96, layer_cfgs=layer)
    assert carry(backbone, state, tmp_path).done == [
        'LayerScale multiplied into the projections'
    ]
    assert_same_features(model, backbone)
    with pytest.raises(ValueError, match=r'71%, less than 90%: is it another size'):
        carry(vit(), state, tmp_path)
    # And into timm's.
    backbone = by_timm('vit_giant_patch14_dinov2', mlp_ratio=4)
    assert carry(backbone, state, tmp_path).match == 1
    assert_same_features(model, backbone)


@pytest.mark.parametrize('kind', ['small', 'small_plus'])
@pytest.mark.parametrize('bias', ['', '_qkvb'])
def test_dinov3(kind, bias, tmp_path):
    name = f'vit_{kind}_patch16_dinov3{bias}'
    model = theirs(name, patch=16)
    state = renamed(
        model.state_dict(),
        ('reg_token', 'storage_tokens'),
        (r'gamma_([12])', r'ls\1.gamma'),
        (r'mlp\.fc1_g', 'mlp.w1'),
        (r'mlp\.fc1_x', 'mlp.w2'),
        *([(r'mlp\.fc2', 'mlp.w3')] if kind == 'small_plus' else []),
    )
    for i in range(2):
        attention = f'blocks.{i}.attn.'
        values = [
            state.pop(f'{attention}{part}_bias', torch.zeros(32)) for part in 'qv'
        ]
        values.insert(1, torch.zeros(32))
        state[f'{attention}qkv.bias'] = torch.cat(values)
        state[f'{attention}qkv.bias_mask'] = torch.ones(96)
    state['rope_embed.periods'] = torch.ones(4)
    state['mask_token'] = torch.zeros(1, 32)
    backbone = by_timm(name, patch=16)
    report = carry(backbone, state, tmp_path)
    assert report.match == 1
    assert not report.unused
    assert_same_features(model, backbone, 64)
    if bias:
        with pytest.raises(ValueError, match=r'lacks: blocks\.0\.attn\.q_bias'):
            carry(by_timm(name.removesuffix(bias), patch=16), state, tmp_path)


def test_mae(tmp_path):
    model = theirs('vit_base_patch16_224', patch=16)
    state = {
        **model.state_dict(),
        'mask_token': torch.zeros(1, 1, 16),
        'decoder_embed.weight': torch.zeros(16, 32),
        'decoder_blocks.0.attn.qkv.weight': torch.zeros(48, 16),
    }
    backbone = vit(patch=16)
    assert carry(backbone, dict(model=state), tmp_path).match == 1
    assert_same_features(model, backbone, 64)
    # mmseg's has LayerScale and relative positions, too.
    backbone = mmseg_beit('MAE', init_values=1.0)
    report = carry(backbone, state, tmp_path)
    assert report.match == 1
    assert 'gammas set to 1' in report.done[0]
    assert 'relative position biases set to 0' in report.done[1]
    assert_same_features(model, backbone, 64)


def test_clip(tmp_path):
    model = theirs('vit_base_patch16_clip_224', patch=16)
    backbone = vit(patch=16, pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5))
    assert carry(backbone, model.state_dict(), tmp_path).match == 1
    assert_same_features(model, backbone, 64)
    # Without a norm before the blocks it computes something else.
    with pytest.raises(ValueError, match=r'VisionTransformer lacks: pre_norm'):
        carry(vit(patch=16), model.state_dict(), tmp_path)


def mmseg_beit(kind, **kwargs):
    size = dict(img_size=64, patch_size=16, mlp_ratio=4, norm_cfg=LN)
    return ours(type=f'mmseg.{kind}', **OURS, **size, out_indices=(0, 1), **kwargs)


LN = dict(type='LN', eps=1e-6)


def beits():
    cfg = dict(
        arch=dict(feedforward_channels=128, **OURS),
        img_size=64,
        out_type='featmap',
        out_indices=(0, 1),
    )
    return {
        'mmpretrain': ours(type='mmpretrain.BEiTViT', **cfg),
        'mmseg': mmseg_beit('BEiT', init_values=0.1),
        'timm': by_timm('beit_base_patch16_224', patch=16),
    }


@pytest.mark.parametrize('name', ['mmpretrain', 'mmseg', 'timm'])
@pytest.mark.parametrize('shared', [False, True])
def test_beit(name, shared, tmp_path):
    model = theirs('beit_base_patch16_224', patch=16)
    state = dict(model.state_dict())
    if shared:  # as pretrained: one table for all layers
        tables = [k for k in state if k.endswith('relative_position_bias_table')]
        with torch.no_grad():
            model.blocks[1].attn.relative_position_bias_table.copy_(state[tables[0]])
        table = state[tables[0]].clone()
        state = {k: v for k, v in state.items() if k not in tables}
        state['rel_pos_bias.relative_position_bias_table'] = table
    backbone = beits()[name]
    assert carry(backbone, state, tmp_path).match == 1
    assert_same_features(model, backbone, 64)


def test_beit_of_another_size(tmp_path):
    model = theirs('beit_base_patch16_224', patch=16)
    backbone = ours(
        type='mmseg.BEiT',
        **OURS,
        img_size=96,
        mlp_ratio=4,
        norm_cfg=LN,
        out_indices=(0, 1),
        init_values=0.1,
    )
    report = carry(backbone, model.state_dict(), tmp_path)
    assert report.match == 1
    assert any('resized from 7x7 to 11x11' in line for line in report.done)
    name = 'attn.relative_position_bias_table'
    before, after = model.blocks[0].state_dict()[name], backbone.layers[0].state_dict()
    # What the class token sees stays, and so does the bias of no offset.
    assert torch.equal(after[name][-3:], before[-3:])
    torch.testing.assert_close(after[name][11 * 5 + 5], before[7 * 3 + 3])


def test_eva02(tmp_path):
    name = 'eva02_base_patch14_448'
    model = theirs(name)
    backbone = by_timm(name)
    assert carry(backbone, model.state_dict(), tmp_path).match == 1
    assert_same_features(model, backbone)


RESNET = dict(depth=18, out_indices=(0, 3))


@pytest.mark.parametrize('package', ['mmpretrain', 'mmseg'])
def test_resnet(package, tmp_path):
    model = randomise(torchvision.models.resnet18())
    backbone = ours(type=f'{package}.ResNet', **RESNET)
    assert carry(backbone, model.state_dict(), tmp_path).match == 1
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
        first = model.layer1(x)
        last = model.layer4(model.layer3(model.layer2(first)))
        for a, b in zip(backbone(images), (first, last), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    # Of another stem: random, were the other 99 % of the weights enough.
    with pytest.raises(ValueError, match=r'would stay random: stem\.'):
        carry(ours(type=f'{package}.ResNetV1c', **RESNET), model.state_dict(), tmp_path)


@pytest.mark.parametrize('package', ['mmpretrain', 'mmseg'])
def test_deep_stem(package, tmp_path):
    model = randomise(timm.create_model('resnet18d'))
    backbone = ours(type=f'{package}.ResNetV1d', **RESNET)
    assert carry(backbone, model.state_dict(), tmp_path).match == 1
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_intermediates(
            images, indices=[1, 4], intermediates_only=True
        )
        for a, b in zip(backbone(images), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_simmim(tmp_path):
    # Its authors keep the network that they pretrain under `encoder.`.
    kwargs = dict(embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=4)
    model = randomise(
        timm.create_model('swin_tiny_patch4_window7_224', img_size=32, **kwargs)
    )
    state = renamed(
        model.state_dict(), (r'layers\.1\.downsample', 'layers.0.downsample')
    )
    state = {f'encoder.{k}': v for k, v in state.items()}
    state['decoder.0.weight'] = torch.zeros(3)
    backbone = ours(
        type='mmseg.SwinTransformer',
        pretrain_img_size=32,
        embed_dims=8,
        depths=(2, 2),
        num_heads=(1, 2),
        strides=(4, 2),
        window_size=4,
        out_indices=(0, 1),
    )
    report = carry(backbone, dict(model=state), tmp_path)
    assert report.match == 1
    assert report.source == 'official Swin'


def test_patches_resized(tmp_path):
    weight = torch.randn(5, 3, 14, 14)
    patch = torch.randn(1, 3, 14, 14)
    larger = F.interpolate(patch, (16, 16), mode='bilinear')
    torch.testing.assert_close(
        F.conv2d(larger, resize_patches(weight, (16, 16))),
        F.conv2d(patch, weight),
        rtol=1e-4,
        atol=1e-4,
    )
    model = theirs('vit_small_patch14_dinov2')
    backbone = vit(patch=16, layer_scale_init_value=1e-5)
    report = carry(backbone, model.state_dict(), tmp_path)
    assert report.match == 1
    assert report.done == ['patch projection resized from 14x14 to 16x16']
    torch.testing.assert_close(
        backbone.patch_embed.projection.weight,
        resize_patches(model.patch_embed.proj.weight, (16, 16)),
    )


def test_family_that_is_not_known(tmp_path):
    with pytest.raises(ValueError, match=r"no known format.*'BEiT', 'ConvNeXt'.*'ViT'"):
        carry(vit(), {'convs.0.weight': torch.zeros(1)}, tmp_path)


def test_hrnet(tmp_path):
    # Of timm, with what only classifies behind it.
    model = randomise(timm.create_model('hrnet_w18_small'))
    extra = {
        f'stage{stage}': dict(
            num_modules=1,
            num_branches=stage,
            block='BOTTLENECK' if stage == 1 else 'BASIC',
            num_blocks=(1,) if stage == 1 else (2,) * stage,
            num_channels=(32,) if stage == 1 else (16, 32, 64, 128)[:stage],
        )
        for stage in (1, 2, 3, 4)
    }
    for package in ('mmseg', 'mmpretrain'):  # mmseg's upsamples otherwise
        backbone = ours(type=f'{package}.HRNet', extra=extra)
        report = carry(backbone, model.state_dict(), tmp_path)
        assert (report.source, report.match) == ('HRNet', 1)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.stages(model_stem(model, images))
        for a, b in zip(backbone(images), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def model_stem(model, images):
    x = model.act1(model.bn1(model.conv1(images)))
    return model.act2(model.bn2(model.conv2(x)))
