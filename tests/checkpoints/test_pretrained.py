"""From a checkpoint into a backbone of another form or size."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmcosub.checkpoints import load_backbone
from mmcosub.checkpoints.adapt import resize_table

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
DEPTHS = dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4])


def vit(**kwargs):
    cfg = dict(
        type='mmpretrain.VisionTransformer',
        arch=ARCH,
        img_size=32,
        patch_size=8,
        out_type='featmap',
        out_indices=(0, 1),
        final_norm=False,
    )
    return build({**cfg, **kwargs})


def swin(**kwargs):
    cfg = dict(
        type='mmpretrain.SwinTransformer',
        arch=DEPTHS,
        img_size=56,
        window_size=7,
        out_indices=(0, 1),
        pad_small_map=True,
    )
    return build({**cfg, **kwargs})


def build(cfg):
    init_default_scope('mmseg')
    model = MODELS.build(cfg)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.eval()
    return model


def save(model, tmp_path, prefix='backbone.', **extra):
    state = {f'{prefix}{k}': v for k, v in model.state_dict().items()}
    state.update({'head.layers.head.weight': torch.ones(3, 16)} if prefix else {})
    file = tmp_path / 'pretrained.pth'
    torch.save(dict(state_dict=state, **extra), file)
    return str(file)


def test_counters_of_averages_are_no_weights(tmp_path):
    source, target = vit(), vit()
    file = tmp_path / 'swa.pth'
    torch.save(torch.optim.swa_utils.AveragedModel(source).state_dict(), file)
    assert not load_backbone(target, str(file)).unused


def test_weights_that_are_no_numbers(tmp_path):
    source = vit()
    source.layers[0].ln1.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match=r'1 weights that are not finite, layers\.0'):
        load_backbone(vit(), save(source, tmp_path))


def test_projections_without_biases_get_zeros(tmp_path):
    source, target = vit(qkv_bias=False), vit()
    report = load_backbone(target, save(source, tmp_path))
    assert not report.missing
    assert '2 biases set to 0' in report.done[0]
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(target(images), source(images))


@pytest.mark.parametrize('make', [vit, swin])
@pytest.mark.parametrize('prefix', ['backbone.', ''])
def test_same_network(make, prefix, tmp_path):
    source, target = make(), make()
    report = load_backbone(target, save(source, tmp_path, prefix))
    assert report.match == 1
    assert not report.done + report.missing + report.misshapen + report.unused
    images = torch.randn(2, 3, 32, 32)
    for a, b in zip(target(images), source(images), strict=True):
        assert torch.equal(a, b)


def test_classifier_into_segmentor(tmp_path):
    # Out of it comes one level and a norm; into it, one level more.
    source = swin(out_indices=(1,))
    target = swin()
    report = load_backbone(target, save(source, tmp_path))
    assert report.match == 1
    assert report.expected == ['norm0.weight', 'norm0.bias']
    source = vit(out_type='cls_token', out_indices=-1, final_norm=True)
    report = load_backbone(vit(), save(source, tmp_path))
    assert report.match == 1
    assert not report.unused


def test_window_resize(tmp_path):
    source, target = swin(), swin(img_size=96, window_size=12)
    report = load_backbone(target, save(source, tmp_path))
    assert report.match == 1
    assert len(report.done) == 4
    assert 'from 13x13 to 23x23' in report.done[0]
    name = 'stages.0.blocks.1.attn.w_msa.relative_position_bias_table'
    before, after = source.state_dict()[name], target.state_dict()[name]
    assert after.shape == (23 * 23, 2)
    # The bias of no offset stays, and so does the order of rows and columns.
    torch.testing.assert_close(after[23 * 11 + 11], before[13 * 6 + 6])
    grid = torch.arange(13.0).repeat_interleave(13)[:, None]  # the row's number
    rows = resize_table(grid, (13, 13), (23, 23)).reshape(23, 23)
    assert (rows.diff(dim=1).abs() < 1e-5).all()
    assert (rows.diff(dim=0)[1:-1] > 0).all()
    index = 'stages.0.blocks.1.attn.w_msa.relative_position_index'
    assert target.state_dict()[index].max() == 23 * 23 - 1


def test_positions_resized(tmp_path):
    source, target = vit(), vit(img_size=(64, 48))
    report = load_backbone(target, save(source, tmp_path))
    assert report.done == ['positions resized from 4x4 to 8x6']
    before, after = source.pos_embed.detach(), target.pos_embed.detach()
    assert torch.equal(after[:, :1], before[:, :1])
    grid = before[:, 1:].transpose(1, 2).reshape(1, 16, 4, 4)
    expected = F.interpolate(grid, (8, 6), mode='bicubic').flatten(2).transpose(1, 2)
    torch.testing.assert_close(after[:, 1:], expected)


def test_class_token_dropped_and_added(tmp_path):
    plain = dict(with_cls_token=False)
    source, target = vit(), vit(**plain)
    report = load_backbone(target, save(source, tmp_path))
    assert report.done == ['1 token(s) dropped']
    assert torch.equal(target.pos_embed, source.pos_embed[:, 1:])

    source, target = target, vit()
    token = target.cls_token.clone()
    report = load_backbone(target, save(source, tmp_path))
    assert report.done == ['1 token(s) added, at a position of 0']
    assert report.expected == ['cls_token']
    assert torch.equal(target.cls_token, token)
    assert torch.equal(target.pos_embed[:, 1:], source.pos_embed)
    assert not target.pos_embed[:, :1].any()


def test_distilled(tmp_path):
    cfg = dict(
        type='mmpretrain.DistilledVisionTransformer',
        arch=ARCH,
        img_size=32,
        patch_size=8,
    )
    source, target = build(cfg), vit()
    report = load_backbone(target, save(source, tmp_path))
    assert report.done == ['1 token(s) dropped']
    assert report.match == 1
    assert torch.equal(target.pos_embed[:, 1:], source.pos_embed[:, 2:])
    placed = [model.cls_token + model.pos_embed[:, :1] for model in (source, target)]
    assert torch.equal(*placed)


def test_layer_scale_of_one(tmp_path):
    source, target = vit(), vit(layer_scale_init_value=1e-4)
    report = load_backbone(target, save(source, tmp_path))
    assert report.done == ['4 LayerScale gammas set to 1, as there are none']
    images = torch.randn(2, 3, 32, 32)
    for a, b in zip(target(images), source(images), strict=True):
        torch.testing.assert_close(a, b)
    # And out again, into the projections.
    nn.init.normal_(target.layers[0].attn.gamma1.weight)
    images, again = torch.randn(2, 3, 32, 32), vit()
    load_backbone(again, save(target, tmp_path))
    for a, b in zip(again(images), target(images), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('name', 'kwargs'),
    [
        ('vit_tiny_patch16_224', dict(img_size=32, patch_size=8, depth=2)),
        ('deit3_small_patch16_224', dict(img_size=32, patch_size=8, depth=2)),
        ('swin_tiny_patch4_window7_224', dict(depths=(2, 2, 2, 2))),
        ('convnext_atto', dict(depths=(1, 1, 1, 1))),
        ('regnety_002', dict()),
        ('pit_ti_224', dict()),
        ('xcit_nano_12_p16_224', dict(depth=2)),
    ],
)
def test_timm_into_its_feature_extractor(name, kwargs, tmp_path):
    import timm

    source = timm.create_model(name, **kwargs)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    target = build(
        dict(
            type='mmpretrain.TIMMBackbone',
            model_name=name,
            features_only=True,
            **({'out_indices': (0, 1)} if 'depth' in kwargs else {}),
            **kwargs,
        )
    )
    report = load_backbone(target, str(tmp_path / 'a.pth'))
    assert report.match == 1
    assert not report.missing + report.unused
    own, given = dict(target.named_parameters()), list(source.parameters())
    assert all(any(torch.equal(p, q) for q in given) for p in own.values())


def test_another_architecture(tmp_path):
    file = save(swin(), tmp_path)
    with pytest.raises(
        ValueError, match=r'is a mmpretrain Swin .* the backbone is a V'
    ):
        load_backbone(vit(), file)
    torch.save({'conv.weight': torch.ones(1)}, file)
    with pytest.raises(ValueError, match=r'of no known format.*It has conv.weight'):
        load_backbone(vit(), file)


def test_poor_match(tmp_path):
    small = {**ARCH, 'num_layers': 1}
    target = vit()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    file = save(vit(arch=small, out_indices=(0,)), tmp_path)
    with pytest.raises(ValueError, match=r'(?s)Missing: layers.1.*57%.*min_match=0.5'):
        load_backbone(target, file)
    assert all(torch.equal(before[k], v) for k, v in target.state_dict().items())
    report = load_backbone(target, file, min_match=0.5)
    assert len(report.missing) == 12
    with pytest.raises(ValueError, match=r'min_match must be in \[0, 1\], not 5'):
        load_backbone(target, file, min_match=5)


@pytest.mark.parametrize('prefix', ['momentum.module.0', 'momentum.module.0.'])
def test_prefix(prefix, tmp_path):
    one, two, backbone = vit(), vit(), vit()
    state = {f'backbone.{k}': v for k, v in one.state_dict().items()}
    state |= {f'momentum.module.0.{k}': v for k, v in two.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    for given, source in ((None, one), (prefix, two)):
        report = load_backbone(backbone, str(tmp_path / 'a.pth'), prefix=given)
        assert report.match == 1
        for name, value in backbone.state_dict().items():
            assert torch.equal(value, source.state_dict()[name])
    with pytest.raises(ValueError, match=r"prefix='mom'.* begin with backbone, mome"):
        load_backbone(backbone, str(tmp_path / 'a.pth'), prefix='mom')


def test_other_width(tmp_path):
    file = save(vit(arch={**ARCH, 'embed_dims': 8}), tmp_path)
    with pytest.raises(
        ValueError, match=r'(?s)Of another shape: .*\(8,\), not \(16,\)'
    ):
        load_backbone(vit(), file)
