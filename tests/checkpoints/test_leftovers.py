"""Weights of the checkpoint that the network lacks, and the reverse."""

import re
import shlex
import warnings

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmcosub.checkpoints import load_backbone
from mmcosub.checkpoints.matching import (
    is_allowed,
    is_head,
    missing_blocks,
    sort_leftovers,
)

SMALL = dict(embed_dim=16, num_heads=2, img_size=32, patch_size=8)
OURS = dict(embed_dims=16, num_heads=2, feedforward_channels=64)


def build(kind, **cfg):
    init_default_scope('mmseg')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return MODELS.build(dict(type=kind, **cfg))


def from_timm(name, **kwargs):
    return timm.create_model(name, **kwargs)


def by_timm(name, **kwargs):
    return build('mmpretrain.TIMMBackbone', model_name=name, **kwargs)


def vit(depth, kind='VisionTransformer', **kwargs):
    arch = dict(num_layers=depth, **OURS)
    return build(f'mmpretrain.{kind}', arch=arch, img_size=32, patch_size=8, **kwargs)


def hrnet(package, modules):
    extra = {
        f'stage{stage}': dict(
            num_modules=modules if stage == 3 else 1,
            num_branches=stage,
            block='BOTTLENECK' if stage == 1 else 'BASIC',
            num_blocks=(1,) * stage,
            num_channels=(8, 16, 32, 64)[:stage],
        )
        for stage in (1, 2, 3, 4)
    }
    return build(f'{package}.HRNet', extra=extra)


def swin(depth):
    arch = dict(embed_dims=8, depths=[1, 1, depth, 1], num_heads=[1, 1, 2, 2])
    return build('mmpretrain.SwinTransformer', arch=arch, img_size=56)


def convnext(depth, kind='mmpretrain.ConvNeXt'):
    arch = dict(depths=[1, 1, depth, 1], channels=[8, 16, 24, 32])
    return build(kind, arch=arch, out_indices=(0, 1, 2, 3))


def mit(depth):
    return build(
        'MixVisionTransformer', embed_dims=8, num_layers=[1, 1, depth, 1],
        num_heads=[1, 1, 1, 1],
    )  # fmt: skip


def mscan(depth):
    return build(
        'MSCAN', embed_dims=[8, 8, 8, 8], depths=[1, 1, depth, 1],
        mlp_ratios=[2, 2, 2, 2], norm_cfg=dict(type='BN'),
    )  # fmt: skip


def timm_swin(depth):
    return from_timm(
        'swin_tiny_patch4_window7_224', img_size=56, embed_dim=8,
        depths=(1, 1, depth, 1), num_heads=(1, 1, 2, 2),
    )  # fmt: skip


def timm_convnext(depth):
    dims = (8, 16, 24, 32)
    return from_timm('convnext_tiny', depths=(1, 1, depth, 1), dims=dims)


def timm_resnet(depth):
    return from_timm('resnet18', layers=(1, 1, depth, 1), channels=(8, 16, 24, 32))


# A network of a depth, and a backbone of a depth.
NETWORKS = {
    'ViT': (lambda n: from_timm('vit_tiny_patch16_224', depth=n, **SMALL), vit),
    'ViT, ours': (vit, vit),
    'BEiT': (
        lambda n: from_timm('beit_base_patch16_224', depth=n, **SMALL),
        lambda n: vit(n, 'BEiTViT'),
    ),
    'Swin': (timm_swin, swin),
    'Swin, ours': (swin, swin),
    'ConvNeXt': (timm_convnext, convnext),
    'XCiT': (
        lambda n: from_timm('xcit_nano_12_p16_224', depth=n),
        lambda n: by_timm('xcit_nano_12_p16_224', depth=n),
    ),
    'ResNet': (
        timm_resnet,
        lambda n: by_timm(
            'resnet18',
            layers=(1, 1, n, 1),
            channels=(8, 16, 24, 32),
            features_only=True,
        ),
    ),
    'MiT': (mit, mit),
    'HRNet': (lambda n: hrnet('mmseg', n), lambda n: hrnet('mmpretrain', n)),
    'MSCAN': (mscan, mscan),
}


@pytest.fixture
def carry(tmp_path):
    def load(source, target, **options):
        state = source if isinstance(source, dict) else source.state_dict()
        torch.save(state, tmp_path / 'a.pth')
        return load_backbone(target, str(tmp_path / 'a.pth'), **options)

    return load


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('depths', [(4, 3), (3, 4)])
@pytest.mark.sweep(every=3)
def test_another_depth_is_refused_both_ways(name, depths, carry):
    make_source, make_target = NETWORKS[name]
    source, target = make_source(depths[0]), make_target(depths[1])
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(
        ValueError, match=r'would stay random|has parts inside'
    ) as error:
        carry(source, target)
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())
    if depths[0] > depths[1]:
        (said,) = re.findall(r'--backbone-allow-unused (.+)\.$', str(error.value))
        report = carry(source, target, allow_unused=shlex.split(said))
        assert report.match == 1
        assert report.dropped
        assert not report.unused
        assert 'Not used (allowed, ' in str(report)
    else:
        assert carry(source, target, min_match=0.3).missing
    # And the depth is all that was wrong.
    report = carry(make_source(3), make_target(3))
    assert report.match == 1
    assert not report.unused + report.missing


@pytest.mark.parametrize(
    ('file', 'depth', 'blocks'), [('resnet101', 50, 17), ('resnet34', 18, 8)]
)
def test_a_deeper_resnet_is_refused(file, depth, blocks, carry):
    source = from_timm(file)
    backbone = build('mmseg.ResNet', depth=depth)
    said = rf'ResNet lacks: layer\d\.\d.*\({blocks} in all\).*unused .*layer3\.\*'
    with pytest.raises(ValueError, match=f'(?s){said}'):
        carry(source, backbone)


def test_relative_positions_without_a_place_are_refused(carry):
    source, _ = NETWORKS['BEiT']
    backbone = vit(3, 'BEiTViT', use_rel_pos_bias=False)
    with pytest.raises(ValueError, match=r'BEiTViT lacks: layers\.0\.attn\.rel'):
        carry(source(3), backbone)


@pytest.mark.parametrize('name', ['lora_A.weight', 'lora_down.weight', 'adapter.w'])
def test_side_weights_are_refused(name, carry):
    state = vit(3).state_dict()
    state |= {f'layers.{i}.attn.qkv.{name}': torch.ones(2, 16) for i in range(3)}
    with pytest.raises(ValueError, match=r"unused 'layers\.\*\.attn\.qkv\."):
        carry(state, vit(3))
    report = carry(state, vit(3), allow_unused='layers.*.attn.qkv.*')
    assert len([n for n in report.dropped if '.qkv.' in n]) == 3


@pytest.mark.parametrize(
    ('make', 'stages'),
    [
        (timm_swin, lambda: build(
            'mmpretrain.SwinTransformer', img_size=56, out_indices=(2,),
            arch=dict(embed_dims=8, depths=[1, 1, 3], num_heads=[1, 1, 2]),
        )),
        (lambda _: from_timm('resnet18'), lambda: build(
            'mmseg.ResNet', depth=18, num_stages=3, strides=(1, 2, 2),
            dilations=(1, 1, 1), out_indices=(0, 1, 2),
        )),
        (timm_convnext, lambda: build(
            'mmpretrain.ConvNeXt', out_indices=(2,),
            arch=dict(depths=[1, 1, 3], channels=[8, 16, 24]),
        )),
        (mit, lambda: build(
            'MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 3],
            num_stages=3, num_heads=[1, 1, 1], strides=[4, 2, 2], out_indices=(0, 1, 2),
            patch_sizes=[7, 3, 3], sr_ratios=[8, 4, 2],
        )),
    ],
)  # fmt: skip
def test_stages_behind_the_last_are_reported(make, stages, carry):
    report = carry(make(3), stages())
    assert report.match == 1
    assert not report.unused
    assert report.dropped
    assert 'Not used (allowed, heads, ends of the network): ' in str(report)


def test_blocks_that_timm_takes_out_are_reported(carry):
    source, _ = NETWORKS['ViT']
    options = dict(depth=4, features_only=True, out_indices=(0, 1), **SMALL)
    backbone = by_timm('vit_tiny_patch16_224', **options)
    dropped = ['blocks.2', 'blocks.3', 'norm', 'head']
    assert carry(source(4), backbone).dropped == dropped
    with pytest.raises(ValueError, match=r'lacks: blocks\.4'):
        carry(source(5), backbone)


def test_names_of_the_same_weight(carry):
    state = {f'backbone.{k}': v for k, v in vit(2).state_dict().items()}
    name = 'backbone.layers.0.ln1.weight'
    double = {**state, name.replace('back', 'backbone.back', 1): state[name].clone()}
    assert carry(double, vit(2)).match == 1
    double['backbone.backbone.layers.0.ln1.weight'] += 1
    with pytest.raises(ValueError, match=r'with other values.*init_cfg\.prefix'):
        carry(double, vit(2))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
        self.two.weight = self.one.weight
        self.register_buffer('count', torch.zeros(2, dtype=torch.int64))


def test_tied_weights_and_numbers_of_other_types(carry):
    source, target = Tied(), Tied()
    state = {k: v for k, v in source.state_dict().items() if k != 'two.weight'}
    report = carry(state, target)
    assert not report.missing
    assert torch.equal(target.two.weight, source.two.weight)
    state['one.bias'] = torch.ones(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r'one\.bias torch\.int64, .* stay random'):
        carry(state, target)
    report = carry(state, target, min_match=0.5)
    assert report.misshapen == ['one.bias torch.int64, not torch.float32']
    assert not (target.one.bias == 1).any()


def names_of_timm():
    """Every name that timm's networks have for what classifies."""
    heads = set()
    for model in timm.list_models():
        cfg = timm.get_pretrained_cfg(model)
        head = cfg.classifier if cfg else None
        heads |= {head} if isinstance(head, str) else {*(head or ())}
    return sorted(heads)


def test_heads_by_their_place():
    mmseg = (
        'decode_head',
        'auxiliary_head.0.conv_seg',
        'decode_head.fc.cls',
        'head.fc',
    )
    for name in [*mmseg, *names_of_timm()]:
        assert is_head(f'{name}.weight'), name
        assert not is_head(f'backbone.{name}.weight')
        assert not is_head(f'layer1.0.{name}.weight')
    assert len(names_of_timm()) > 10
    for name in ('multihead_attn', 'se.fc', 'fc1', 'headless', 'conv_seg', 'classes'):
        assert not is_head(f'{name}.weight')
        assert not is_head(f'backbone.{name}.weight')


def test_parts_of_unknown_networks():
    own = ['stem.weight', 'blocks.0.weight', 'blocks.1.weight']
    names = ['blocks.2.weight', 'decode.weight', 'scale', 'head.weight', 'norm.bias']
    dropped, inside = sort_leftovers(names, own, strangers=True)
    assert dropped == ['decode', 'head', 'norm']
    assert inside == ['blocks.2.weight', 'scale']
    assert 'decode.weight' in sort_leftovers(names, own)[1]


def test_missing_blocks_have_neighbours():
    there = ['a.0.conv.weight', 'a.0.bn.0.weight']
    missing = ['a.1.conv.weight', 'a.0.context.0.weight', 'b.0.weight', 'a.0.bn.1.w']
    assert missing_blocks(missing, there) == ['a.1', 'a.0.bn.1']


def test_allowed_by_module_or_pattern():
    for pattern in ('layer3.6', 'layer3.*', '*.conv.weight', '*'):
        assert is_allowed('layer3.6.conv.weight', [pattern])
    for pattern in ('layer3.60', 'layer', 'conv.weight'):
        assert not is_allowed('layer3.6.conv.weight', [pattern])
