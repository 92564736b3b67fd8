"""Masks, and what a masked backbone computes."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS
from networks import TINY
from tiny import BACKBONES, backbone, labelled_images, segmentor_config

from mmcosub.config.co_train import co_trained_model
from mmcosub.submodels import find_branches
from mmcosub.submodels.masking import (
    draw_mask,
    mask_pixels,
    masked_patches,
    masking_mode,
    removed_tokens,
)

MASK = dict(type='AugMask', ratio=0.5)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(('number', 'ratio'), [(196, 0.5), (49, 0.5), (7, 0.75)])
def test_draw(number, ratio):
    mask = draw_mask(400, number, ratio, rng())
    kept = (~mask).sum(axis=1)
    assert set(kept) == {int(number * (1 - ratio))}  # of every image, published
    share = kept[0] / number
    assert (~mask).mean(axis=0) == pytest.approx([share] * number, abs=0.12)


def test_ratio_that_leaves_nothing():
    with pytest.raises(ValueError, match=r'0.9 leaves none of 4 units.*ratio.* 0.75 '):
        draw_mask(2, 4, 0.9, rng())
    draw_mask(2, 4, 0.75, rng())
    # 10 * (1 - 0.9) is a little less than 1 in floating point.
    assert (~draw_mask(2, 10, 0.9, rng())).sum() == 2
    assert (~draw_mask(1, 100, 0.9, rng())).sum() == 10
    # No ratio would do, so none is proposed.
    with pytest.raises(ValueError, match=r'none of 1 units: take larger images'):
        draw_mask(2, 1, 0.5, rng())


def test_kinds():
    kinds = {name: masking_mode(find_branches(backbone(name))) for name in BACKBONES}
    assert kinds == {
        'mmpretrain ViT': 'tokens',
        'mmseg ViT': 'tokens',
        'mmpretrain Swin': 'patches',
        'mmseg Swin': 'patches',
        'mmseg MiT': 'pixels',
    }


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('mmpretrain BEiT', 'pixels'),  # positions of pairs of tokens
        ('mmpretrain BEiT, shared positions', 'pixels'),
        ('mmseg BEiT', 'pixels'),
        ('mmseg MAE', 'pixels'),
        ('timm PiT', 'pixels'),  # tokens become a map between stages
        ('timm ViT', 'tokens'),
    ],
)
def test_transformers_that_need_every_token(name, kind):
    init_default_scope('mmseg')
    model = MODELS.build({'drop_path_rate': 0.4, **copy.deepcopy(TINY[name])})
    assert masking_mode(find_branches(model)) == kind


def test_pixels():
    images = torch.ones(3, 3, 96, 80)
    masked = mask_pixels(images, 0.5, rng())
    units = masked[:, 0, ::32, ::32]  # 3 x 3, the last column cut
    assert ((units == 0).sum(dim=(1, 2)) == 5).all()
    again = units.repeat_interleave(32, 1).repeat_interleave(32, 2)[:, :, :80]
    assert torch.equal(masked, again[:, None].expand_as(masked))


def test_patches():
    model = backbone('mmpretrain Swin')
    token = torch.arange(8.0)
    images = torch.randn(2, 3, 64, 96)
    plain, size = model.patch_embed(images)
    with masked_patches(model, images, 0.5, token, rng())():
        masked, _ = model.patch_embed(images)
    assert torch.equal(model.patch_embed(images)[0], plain)  # undone
    replaced = (masked == token).all(dim=2).reshape(2, *size)
    assert replaced.sum() == 2 * 3 * 64  # 3 of 6 units of 8 x 8 patches each
    assert torch.equal(masked[~replaced.flatten(1)], plain[~replaced.flatten(1)])
    units = replaced.reshape(2, 2, 8, 3, 8)
    assert (units.all(dim=(2, 4)) | ~units.any(dim=(2, 4))).all()


@pytest.mark.parametrize('name', ['mmpretrain ViT', 'mmseg ViT'])
def test_tokens(name):
    # What the backbone computes on the tokens that are left, by hand.
    model = backbone(name, drop_path_rate=0.0, out_indices=(1, 3)).double()
    blocks = list(model.layers)
    token = torch.arange(16.0).double()
    images = torch.randn(2, 3, 32, 32).double()
    inputs = []
    handle = blocks[0].register_forward_pre_hook(lambda m, args: inputs.append(args[0]))
    model(images)
    handle.remove()
    removed = removed_tokens(blocks, [blocks[1], blocks[3]], 1, 0.5, token, rng())
    with removed():
        masked = model(images)
    with removed():  # as where it is recomputed: the same tokens
        again = model(images)
    for a, b in zip(masked, again, strict=True):
        assert torch.equal(a, b)
    kept = torch.from_numpy(~draw_mask(2, 16, 0.5, rng()))
    x = torch.stack(
        [
            torch.cat([row[:1], row[1:][keep]])
            for row, keep in zip(inputs[0], kept, strict=True)
        ]
    )
    for i, block in enumerate(blocks):
        x = block(x)
        if i in (1, 3):
            y = x
            if i == 3 and getattr(model, 'final_norm', False) and 'mmpretrain' in name:
                y = model.ln1(x)
            got = masked[(1, 3).index(i)].flatten(2).transpose(1, 2)
            for b in range(2):
                torch.testing.assert_close(got[b][kept[b]], y[b, 1:])
            away = got[~kept]
            assert torch.equal(away, away[:1].expand_as(away))
    assert len(blocks[0]._forward_pre_hooks) == 0


@pytest.mark.parametrize('name', BACKBONES)
def test_segmentor_has_logits_everywhere_and_a_stock_checkpoint(name):
    init_default_scope('mmseg')
    cfg = segmentor_config(name)
    if 'MiT' in name:
        cfg['backbone']['drop_path_rate'] = 0.0  # nothing that AugMask would need
    stock = MODELS.build(copy.deepcopy(cfg))
    model = MODELS.build(co_trained_model(cfg, MASK))
    model.train()
    images, samples = labelled_images(size=(64, 64))
    losses = model.loss(images, samples)
    model.parse_losses(losses)[0].backward()
    assert model.state_dict().keys() == stock.state_dict().keys()
    stock.load_state_dict(model.state_dict(), strict=True)
    names = {n for n, _ in model.named_parameters()} - {
        n for n, _ in stock.named_parameters()
    }
    learned = 'MiT' not in name
    assert names == ({'extras.mask_token.value'} if learned else set())
    if learned:
        assert model.extras['mask_token'].value.grad.any()


@pytest.mark.parametrize('kind', ['AugMask', 'AugDrop'])
def test_blocks_without_a_drop_path_are_disturbed(kind):
    init_default_scope('mmseg')
    losses = []
    for execution in ('plain', 'drop_path'):  # mmseg's first block has no drop path
        scheme = dict(type=kind, execution=execution, drop_path_rate=0.0, seed=3)
        torch.manual_seed(0)
        model = MODELS.build(co_trained_model(segmentor_config('mmseg ViT'), scheme))
        model.train()
        torch.manual_seed(1)
        losses.append(model.loss(*labelled_images()))
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize('out_type', ['cls_token', 'avg_featmap'])
def test_classifier_keeps_the_class_token(out_type):
    init_default_scope('mmpretrain')
    vit = copy.deepcopy(BACKBONES['mmpretrain ViT'])
    vit.update(out_type=out_type, out_indices=-1)
    head = dict(type='LinearClsHead', num_classes=5, in_channels=16)
    cfg = dict(type='ImageClassifier', backbone=vit, head=head)
    from mmpretrain.registry import MODELS as CLASSIFIERS

    model = CLASSIFIERS.build(co_trained_model(cfg, MASK))
    model.train()
    lengths = []
    for layer in model.backbone.layers:
        layer.attn.register_forward_hook(lambda m, a, o: lengths.append(o.shape[1]))
    samples = [DataSample().set_gt_label(i) for i in range(2)]
    losses = model.loss(torch.randn(2, 3, 32, 32), samples)
    assert set(lengths) == {17, 9}  # 16 patches, 8 of them, and the class token
    assert torch.isfinite(losses['loss'] + losses['loss_co_training'])
