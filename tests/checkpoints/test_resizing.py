"""The first convolution of networks for images of other channels than the file's."""

import warnings

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from timm.models import adapt_input_conv
from torch import nn

from mmcosub.checkpoints import load_backbone
from mmcosub.checkpoints.adapt import adapt_channels

VIT = dict(embed_dims=16, num_layers=2, num_heads=2)
ARCH = dict(feedforward_channels=32, **VIT)
HRNET = {
    f'stage{stage}': dict(
        num_modules=1,
        num_branches=stage,
        block='BOTTLENECK' if stage == 1 else 'BASIC',
        num_blocks=(1,) * stage,
        num_channels=(8, 16, 32, 64)[:stage],
    )
    for stage in (1, 2, 3, 4)
}
STAGES = dict(embed_dims=[8] * 4, depths=[1] * 4, mlp_ratios=[2] * 4)
TIMM = dict(type='mmpretrain.TIMMBackbone', features_only=True)
NETWORKS = {
    'ViT': dict(type='mmpretrain.VisionTransformer', arch=ARCH, img_size=32),
    'mmseg ViT': dict(type='mmseg.VisionTransformer', img_size=32, **VIT),
    'BEiT': dict(type='mmpretrain.BEiTViT', arch=ARCH, img_size=32),
    'Swin': dict(
        type='mmseg.SwinTransformer', embed_dims=8, depths=[1] * 4, num_heads=[1] * 4
    ),
    'ConvNeXt': dict(
        type='mmpretrain.ConvNeXt', arch=dict(depths=[1] * 4, channels=[8] * 4)
    ),
    'XCiT': dict(
        type='mmpretrain.XCiT', embed_dims=16, num_heads=2, depth=2, cls_attn_layers=1
    ),
    'ResNet': dict(type='mmseg.ResNet', depth=18),
    'ResNetV1c': dict(type='mmseg.ResNetV1c', depth=18),
    'HRNet': dict(type='mmseg.HRNet', extra=HRNET),
    'MiT': dict(
        type='MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, num_heads=[1] * 4
    ),
    'MSCAN': dict(type='MSCAN', norm_cfg=dict(type='BN'), **STAGES),
    'PiT': dict(type='mmpretrain.TIMMBackbone', model_name='pit_ti_224', img_size=64),
    'RegNet': dict(model_name='regnetx_002', **TIMM),
    'timm ViT': dict(
        model_name='vit_tiny_patch16_224', depth=2, img_size=32, out_indices=(0, 1),
        **TIMM,
    ),
}  # fmt: skip


def build(name, channels):
    init_default_scope('mmseg')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model = MODELS.build(dict(NETWORKS[name], in_channels=channels))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.eval()
    return model


@pytest.mark.parametrize('channels', [1, 6])
@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.sweep(every=3)
def test_grey_images_have_the_features_that_they_have_in_colour(
    name, channels, tmp_path
):
    source, backbone = build(name, 3), build(name, channels)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    report = load_backbone(backbone, str(tmp_path / 'a.pth'))
    assert report.match == 1
    assert f'from 3 to {channels}' in str(report)
    image = torch.randn(2, 1, *((64, 64) if name == 'PiT' else (32, 32)))
    with torch.no_grad():
        expected = source(image.expand(-1, 3, -1, -1))
        got = backbone(image.expand(-1, channels, -1, -1))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('given', [1, 3, 4])
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 5, 13])
def test_channels_as_in_timm(given, channels):
    weight = torch.randn(5, given, 7, 7)
    done: list[str] = []
    state = {'conv.weight': weight, 'next.weight': torch.ones(2, 5, 1, 1)}
    wanted = {
        'conv.weight': torch.ones(5, channels, 7, 7),
        'next.weight': torch.ones(2, 6, 1, 1),
    }
    adapt_channels(state, wanted, done)
    expected = adapt_input_conv(channels, weight, base_chans=given)
    torch.testing.assert_close(state['conv.weight'], expected)
    assert state['next.weight'].shape[1] == 5
    assert len(done) == (given != channels)
