"""Checkpoints of other code bases compute what they computed there."""

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as CLASSIFIERS
from mmseg.registry import MODELS
from torch import nn

from mmcosub.checkpoints import (
    convert_checkpoint,
    detect_format,
    known_formats,
    load_backbone,
)

GAP = dict(type='GlobalAveragePooling')


def linear(channels, kind='LinearClsHead'):
    return dict(type=kind, num_classes=7, in_channels=channels)


# Name in timm, its arguments, and mmpretrain's backbone, neck and head.
NETWORKS = {
    'ViT': (
        'vit_tiny_patch16_224',
        dict(depth=2),
        dict(type='VisionTransformer', arch='deit-tiny'),
        None,
        linear(192, 'VisionTransformerClsHead'),
    ),
    'DeiT III': (
        'deit3_small_patch16_224',
        dict(depth=2),
        dict(
            type='VisionTransformer', arch='deit-small', layer_scale_init_value=1e-4
        ),
        None,
        linear(384, 'VisionTransformerClsHead'),
    ),
    'Swin': (
        'swin_tiny_patch4_window7_224',
        dict(depths=(2, 2, 2, 2)),
        dict(type='SwinTransformer', arch='tiny'),
        GAP,
        linear(768),
    ),
    'ConvNeXt': (
        'convnext_tiny',
        dict(depths=(1, 1, 1, 1)),
        dict(type='ConvNeXt', arch='tiny'),
        None,
        linear(768),
    ),
    'ConvNeXt V2': (
        'convnextv2_atto',
        dict(),
        dict(type='ConvNeXt', arch='atto', use_grn=True, layer_scale_init_value=0.0),
        None,
        linear(320),
    ),
    'XCiT': (
        'xcit_nano_12_p16_224',
        dict(depth=2),
        dict(
            type='XCiT', embed_dims=128, depth=2, cls_attn_layers=2, num_heads=4
        ),
        None,
        linear(128),
    ),
}  # fmt: skip


def shorten(backbone):
    """The same backbone with few blocks."""
    arch = {
        'deit-tiny': dict(embed_dims=192, num_heads=3, feedforward_channels=192 * 4),
        'deit-small': dict(embed_dims=384, num_heads=6, feedforward_channels=384 * 4),
    }.get(backbone.get('arch'))
    if arch:
        return {**backbone, 'arch': {**arch, 'num_layers': 2}}
    if backbone['type'] == 'SwinTransformer':
        heads = [3, 6, 12, 24]
        return {
            **backbone,
            'arch': dict(embed_dims=96, depths=[2] * 4, num_heads=heads),
        }
    if backbone.get('arch') == 'tiny':
        channels = [96, 192, 384, 768]
        return {**backbone, 'arch': dict(depths=[1] * 4, channels=channels)}
    return backbone


def randomise(model):
    """Random values everywhere, statistics of norms included."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05, generator=generator)
    for name, buffer in model.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 2, generator=generator)
        elif name.endswith('running_mean'):
            buffer.normal_(generator=generator)
    model.eval()
    return model


def pair(name):
    """A network of timm's with random weights, and mmpretrain's of the same kind."""
    timm_name, kwargs, backbone, neck, head = NETWORKS[name]
    theirs = randomise(timm.create_model(timm_name, num_classes=7, **kwargs))
    init_default_scope('mmpretrain')
    cfg = dict(backbone=shorten(backbone), neck=neck, head=head)
    ours = CLASSIFIERS.build(dict(type='ImageClassifier', **cfg))
    ours.eval()
    return theirs, ours


def official(name, state):
    """timm's weights as the authors of the architecture have them."""
    if name == 'DeiT III':
        renamed = {}
        for key, value in state.items():
            for i in (1, 2):
                key = key.replace(f'ls{i}.gamma', f'gamma_{i}')
            renamed[key] = value
        return renamed
    if name == 'Swin':
        renamed = {}
        for key, value in state.items():
            for i in (1, 2, 3):
                key = key.replace(
                    f'layers.{i}.downsample', f'layers.{i - 1}.downsample'
                )
            renamed[key.replace('head.fc', 'head')] = value
        return renamed
    if name == 'XCiT':
        return {k.replace('pos_embed', 'pos_embeder'): v for k, v in state.items()}
    renamed = {}
    for key, value in state.items():  # ConvNeXt
        key = key.replace('stem', 'downsample_layers.0')
        if '.downsample.' in key:
            key = key.replace('stages', 'downsample_layers').replace('.downsample', '')
        for a, b in (
            ('.blocks', ''), ('conv_dw', 'dwconv'), ('mlp.fc', 'pwconv'),
            ('head.norm', 'norm'), ('head.fc', 'head'),
        ):  # fmt: skip
            key = key.replace(a, b)
        renamed[key] = value
    return renamed


def assert_same_logits(theirs, ours):
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected, got = theirs(images), ours(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', NETWORKS)
def test_timm_to_mmpretrain(name, tmp_path):
    theirs, ours = pair(name)
    torch.save(theirs.state_dict(), tmp_path / 'a.pth')
    state, source, target = convert_checkpoint(str(tmp_path / 'a.pth'), 'mmpretrain')
    assert source.startswith('timm')
    assert target.startswith('mmpretrain')
    ours.load_state_dict(state, strict=True)
    assert_same_logits(theirs, ours)


@pytest.mark.parametrize('name', ['DeiT III', 'Swin', 'ConvNeXt', 'XCiT'])
def test_official_to_mmpretrain(name, tmp_path):
    theirs, ours = pair(name)
    torch.save(dict(model=official(name, theirs.state_dict())), tmp_path / 'a.pth')
    state, source, _ = convert_checkpoint(str(tmp_path / 'a.pth'), 'mmpretrain')
    assert source in (name, f'official {name}')
    ours.load_state_dict(state, strict=True)
    assert_same_logits(theirs, ours)


@pytest.mark.parametrize('name', ['ViT', 'Swin', 'ConvNeXt', 'XCiT'])
def test_mmpretrain_to_timm(name, tmp_path):
    theirs, ours = pair(name)
    randomise(ours)
    torch.save(dict(state_dict=ours.state_dict()), tmp_path / 'a.pth')
    state, _, target = convert_checkpoint(str(tmp_path / 'a.pth'), 'timm')
    assert target.startswith('timm')
    theirs.load_state_dict(state, strict=True)
    assert_same_logits(theirs, ours)


def test_mmpretrain_vit_to_mmseg(tmp_path):
    # mmseg's has neither LayerScale nor a bias in its patch projection.
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
    init_default_scope('mmseg')
    ours = MODELS.build(
        dict(
            type='mmpretrain.VisionTransformer',
            arch=arch,
            img_size=64,
            out_type='featmap',
            out_indices=(0, 1),
            final_norm=False,
            layer_scale_init_value=0.1,
        )
    )
    randomise(ours)
    theirs = MODELS.build(
        dict(
            type='VisionTransformer',
            img_size=64,
            embed_dims=32,
            num_layers=2,
            num_heads=2,
            mlp_ratio=2,
            out_indices=(0, 1),
            norm_cfg=dict(type='LN', eps=1e-6),
        )
    )
    theirs.eval()
    weights = {f'backbone.{k}': v for k, v in ours.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'a.pth')
    state, _, target = convert_checkpoint(str(tmp_path / 'a.pth'), 'mmseg')
    assert target == 'mmseg ViT'
    images = torch.randn(2, 3, 64, 64)
    for load in (
        lambda: theirs.load_state_dict(
            {k.removeprefix('backbone.'): v for k, v in state.items()}, strict=True
        ),
        lambda: load_backbone(theirs, str(tmp_path / 'a.pth')),
    ):
        for parameter in theirs.parameters():
            nn.init.zeros_(parameter)
        load()
        for a, b in zip(theirs(images), ours(images), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    # And back: LayerScale of 1, a bias of 0.
    torch.save(theirs.state_dict(), tmp_path / 'b.pth')
    report = load_backbone(ours, str(tmp_path / 'b.pth'))
    assert len(report.done) == 2
    assert report.match == 1
    for a, b in zip(ours(images), theirs(images), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_formats_are_told_apart():
    assert detect_format(['conv.weight', 'fc.weight']) is None
    assert len(set(known_formats())) == len(known_formats())


def test_architecture_that_the_target_does_not_have(tmp_path):
    torch.save({'a.weight': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'unknown format; it contains a.weight'):
        convert_checkpoint(str(tmp_path / 'a.pth'), 'timm')


@pytest.mark.parametrize(
    ('name', 'target', 'whose'),
    [
        (
            'vit_small_patch14_reg4_dinov2',
            'mmseg',
            r"mmseg's ViT .*reg_token\.",
        ),
        (
            'vit_small_patch14_reg4_dinov2',
            'mmpretrain',
            r"mmpretrain's .*reg_token",
        ),
        ('vit_giant_patch14_dinov2', 'mmseg', r"mmseg's ViT .*w12.*--to timm"),
    ],
)
def test_part_that_the_target_does_not_have(name, target, whose, tmp_path):
    size = dict(embed_dim=32, depth=2, num_heads=2, img_size=28)
    if 'giant' in name:
        size['mlp_ratio'] = 4
    model = timm.create_model(name, **size)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=whose):
        convert_checkpoint(str(tmp_path / 'a.pth'), target)
    state, _, _ = convert_checkpoint(str(tmp_path / 'a.pth'), 'timm')
    names = {k: v.shape for k, v in model.state_dict().items() if k != 'pos_embed'}
    assert names.items() <= {k: v.shape for k, v in state.items()}.items()
