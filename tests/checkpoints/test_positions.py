"""Positions of networks for images that are no squares."""

import argparse
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmcosub.checkpoints import load_backbone
from mmcosub.checkpoints.adapt import resize_table, table_size

SMALL = dict(embed_dim=16, num_heads=2, depth=2)
OURS = dict(embed_dims=16, num_layers=2, num_heads=2)
BEIT = 'beit_base_patch16_224'


def randomise(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.eval()
    return model


def theirs(size, name='vit_tiny_patch16_224', **kwargs):
    kwargs = {**SMALL, 'patch_size': 8, **kwargs}
    return randomise(timm.create_model(name, img_size=size, **kwargs))


def ours(size, kind='VisionTransformer', **kwargs):
    init_default_scope('mmseg')
    cfg = dict(
        type=f'mmpretrain.{kind}',
        arch=dict(feedforward_channels=64, **OURS),
        patch_size=8,
        img_size=size,
        out_type='featmap',
        out_indices=(0, 1),
        final_norm=False,
        **kwargs,
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return randomise(MODELS.build(cfg))


def by_mmseg(size):
    return randomise(MODELS.build(dict(
        type='mmseg.VisionTransformer', embed_dims=16, num_layers=2, num_heads=2,
        patch_size=8, img_size=size, out_indices=(0, 1),
        norm_cfg=dict(type='LN', eps=1e-6),
    )))  # fmt: skip


def by_timm(size):
    return randomise(MODELS.build(dict(
        type='mmpretrain.TIMMBackbone', model_name='vit_tiny_patch16_224',
        features_only=True, out_indices=(0, 1), patch_size=8, img_size=size, **SMALL,
    )))  # fmt: skip


@pytest.fixture
def carry(tmp_path):
    def load(state, target, meta=None, args=None, **options):
        state = state.state_dict() if isinstance(state, nn.Module) else state
        file = dict(state_dict=state, meta=meta or {}, args=args)
        torch.save(file, tmp_path / 'a.pth')
        return load_backbone(target, str(tmp_path / 'a.pth'), **options)

    return load


def assert_same_features(model, backbone, size):
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = model.forward_intermediates(
            images, indices=[0, 1], intermediates_only=True
        )
        for a, b in zip(backbone(images), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


# 64 patches, as of 8x8; 15 and 24, which with a class token are 16 and 25.
@pytest.mark.parametrize(
    'size', [(32, 128), (128, 32), (32, 64), (24, 40), (64, 24), (8, 32), (64, 64)]
)
@pytest.mark.parametrize('make', [ours, by_mmseg, by_timm])
def test_same_size(size, make, carry):
    model, backbone = theirs(size), make(size)
    report = carry(model, backbone)
    assert report.match == 1
    copied = any('positions copied, as' in line for line in report.done)
    assert copied == (size != (64, 64))
    assert_same_features(model, backbone, size)


@pytest.mark.parametrize('size', [(32, 128), (32, 64), (24, 40)])
@pytest.mark.parametrize('name', ['deit3_small_patch16_224', BEIT])
def test_same_size_without_a_position_of_the_token(size, name, carry):
    if name == BEIT:
        model, backbone = theirs(size, BEIT), ours(size, 'BEiTViT')
    else:
        model, backbone = theirs(size, name), ours(size, layer_scale_init_value=1.0)
    assert carry(model, backbone).match == 1
    assert_same_features(model, backbone, size)


def smooth(height, width):
    """Positions that change little from patch to patch, as trained ones."""
    coarse = torch.randn(1, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse, (height, width), mode='bilinear')
    return torch.cat([torch.ones(1, 1, 16), fine.flatten(2).transpose(1, 2)], dim=1)


@pytest.mark.parametrize('sides', [(8, 8), (4, 16)])
def test_smoothness_tells_as_many_patches_of_a_square(sides, carry):
    state, backbone = theirs((32, 128)).state_dict(), ours((32, 128))
    state['pos_embed'] = smooth(*sides)
    (line,) = carry(state, backbone).done
    resized = 'positions resized from 8x8 to 4x16'
    assert line == resized if sides == (8, 8) else line.startswith('positions copied')


def test_another_grid_has_to_be_given(carry):
    model, target = theirs((32, 64)), ours((64, 64))
    before = target.pos_embed.clone()
    with pytest.raises(ValueError, match=r'a\.pth: 33 positions.*carry_over\.grid'):
        carry(model, target)
    assert torch.equal(target.pos_embed, before)
    report = carry(model, target, grid=(4, 8))
    assert report.done == ['positions resized from 4x8 to 8x8']
    with pytest.raises(ValueError, match=r'4x7 patches has 28 positions.* 33'):
        carry(model, target, grid=(4, 7))
    # As many as the network has, and yet of another grid.
    report = carry(model, ours((64, 32)), grid=(4, 8))
    assert report.done == ['positions resized from 4x8 to 8x4']


def test_the_grid_that_the_file_records(carry, tmp_path):
    # The config that MMEngine keeps is not run for it.
    trace = tmp_path / 'trace'
    text = (
        f"import os\nos.mkdir('{trace}')\n"
        "model = dict(type='ImageClassifier', "
        'backbone=dict(img_size=(32, 64), patch_size=8))'
    )
    recorded = [
        dict(meta=dict(cfg=text)),
        dict(args=argparse.Namespace(img_size=None, input_size=[3, 32, 64])),
    ]
    model = theirs((32, 64))
    for meta in recorded:
        report = carry(model, ours((64, 32)), **meta)
        assert report.done == ['positions resized from 4x8 to 8x4']
    assert not trace.exists()
    # A size that the positions are not of: images were resized to it.
    args = argparse.Namespace(img_size=96)
    assert not carry(theirs((64, 64)), ours((64, 64)), args=args).done


def test_tables_of_windows_that_are_no_squares(carry):
    model, target = theirs((32, 64), BEIT), ours((64, 64), 'BEiTViT')
    with pytest.raises(ValueError, match=r'108 entries are of no square window'):
        carry(model, target)
    report = carry(model, target, grid=(4, 8))
    assert 'table resized from 7x15 to 15x15' in report.done[0]
    rows = torch.arange(7.0).repeat_interleave(15)[:, None]
    resized = resize_table(torch.cat([rows, torch.ones(3, 1)]), (7, 15), (15, 15))
    assert torch.equal(resized[-3:], torch.ones(3, 1))
    assert (resized[:-3].reshape(15, 15).diff(dim=1).abs() < 1e-5).all()
    assert table_size(torch.ones(13 * 13 + 3, 1)) == (13, 13)
    assert table_size(torch.ones(7 * 31 + 3, 1), (4, 16)) == (7, 31)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_resized_in_full(dtype, carry):
    state = theirs((64, 64)).state_dict()
    half = {k: v.to(dtype) for k, v in state.items()}
    rounded = {k: v.float() for k, v in half.items()}
    one, two = ours((96, 48)), ours((96, 48))
    carry(half, one)
    carry(rounded, two)
    for name, value in one.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, two.state_dict()[name]), name
