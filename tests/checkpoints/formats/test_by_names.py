"""Into backbones of no known format."""

import warnings

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmcosub.checkpoints import load_backbone


def mscan(seed):
    init_default_scope('mmseg')
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return MODELS.build(
            dict(
                type='MSCAN',
                embed_dims=[8, 8, 8, 8],
                depths=[1, 1, 1, 1],
                mlp_ratios=[2, 2, 2, 2],
                norm_cfg=dict(type='BN'),
            )
        )


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.', 'model.'])
def test_names_decide(prefix, tmp_path):
    source, backbone = mscan(0), mscan(1)
    state = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save(
        dict(state_dict={**state, 'decode_head.w': torch.ones(1)}), tmp_path / 'a'
    )
    report = load_backbone(backbone, str(tmp_path / 'a'))
    assert report.match == 1
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[name])


def test_one_of_several(tmp_path):
    source, backbone = mscan(0), mscan(1)
    state = {f'backbone.{k}': v for k, v in mscan(2).state_dict().items()}
    state |= {f'momentum.{k}': v for k, v in source.state_dict().items()}
    torch.save(state, tmp_path / 'a.pth')
    load_backbone(backbone, str(tmp_path / 'a.pth'), prefix='momentum')
    assert torch.equal(
        backbone.patch_embed1.proj[0].weight, source.patch_embed1.proj[0].weight
    )
    with pytest.raises(ValueError, match=r"prefix='mom'.* begin with backbone, mome"):
        load_backbone(backbone, str(tmp_path / 'a.pth'), prefix='mom')


def test_what_hardly_matches_is_refused_and_nothing_is_changed(tmp_path):
    source, backbone = mscan(0), mscan(1)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    state = source.state_dict()
    part = dict(list(state.items())[: len(state) // 4])
    torch.save(part, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'less than 50%.*formats of MSCAN are not'):
        load_backbone(backbone, str(tmp_path / 'a.pth'))
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    report = load_backbone(backbone, str(tmp_path / 'a.pth'), min_match=0.1)
    assert 0.1 < report.match < 0.5
    name = next(iter(part))
    assert torch.equal(backbone.state_dict()[name], part[name])


@pytest.mark.parametrize('name', ['efficientnet_b0', 'resnetv2_18'])
@pytest.mark.parametrize('features_only', [False, True])
def test_networks_of_timm(name, features_only, tmp_path):
    source = timm.create_model(name)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    init_default_scope('mmseg')
    cfg = dict(type='mmpretrain.TIMMBackbone', features_only=features_only)
    backbone = MODELS.build(dict(cfg, model_name=name))
    report = load_backbone(backbone, str(tmp_path / 'a.pth'))
    assert report.match == 1
    assert not report.unused
    given = list(source.parameters())
    assert all(any(torch.equal(p, q) for q in given) for p in backbone.parameters())


def test_what_begins_the_network_has_to_be_there(tmp_path):
    state = mscan(0).state_dict()
    first = next(iter(state))
    state[f'other.{first}'] = state.pop(first)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=rf'beginning of .* random: {first}'):
        load_backbone(mscan(1), str(tmp_path / 'a.pth'))


def test_positions_are_resized_as_by_the_backbone_itself(tmp_path):
    """By mmpretrain's own loading, which the comparison of shapes comes before."""

    def eva(size):
        arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
        cfg = dict(type='mmpretrain.ViTEVA02', arch=arch, img_size=size, patch_size=8)
        return MODELS.build(cfg)

    init_default_scope('mmseg')
    source, backbone, reference = eva(32), eva(48), eva(48)
    torch.nn.init.normal_(source.pos_embed)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    report = load_backbone(backbone, str(tmp_path / 'a.pth'))
    assert report.done == ['positions resized from 4x4 to 6x6']
    state = {k: v for k, v in source.state_dict().items() if 'freqs' not in k}
    reference.load_state_dict(state, strict=False)
    torch.testing.assert_close(backbone.state_dict(), reference.state_dict())


def test_map_of_positions(tmp_path):
    small, large = (
        timm.create_model('pit_ti_224', img_size=size, depth=(1, 1, 1))
        for size in (64, 96)
    )
    torch.save(small.state_dict(), tmp_path / 'a.pth')
    report = load_backbone(large, str(tmp_path / 'a.pth'))
    assert report.done == ['positions resized from 7x7 to 11x11']
    expected = torch.nn.Upsample((11, 11), mode='bicubic')(small.pos_embed)
    torch.testing.assert_close(large.pos_embed, expected)
    assert torch.equal(large.norm.weight, small.norm.weight)
