"""torchvision's ViT, Swin and ConvNeXt compute here what they compute there."""

from pathlib import Path

import pytest
import torch
from checkpoints.test_starting_points import randomise
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from mmcosub.checkpoints import convert_checkpoint

WIDTHS, DEPTHS = [8, 16, 24, 32], [1, 2, 1, 1]


def vit() -> tuple[nn.Module, dict, dict]:
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
    head = dict(type='VisionTransformerClsHead', num_classes=7, in_channels=32)
    backbone = dict(type='VisionTransformer', arch=arch, img_size=64)
    return VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=7), backbone, head


def swin() -> tuple[nn.Module, dict, dict]:
    heads = [1, 2, 4, 8]
    arch = dict(embed_dims=8, depths=DEPTHS, num_heads=heads)
    backbone = dict(type='SwinTransformer', arch=arch, img_size=64, window_size=2)
    head = dict(type='LinearClsHead', num_classes=7, in_channels=64)
    return (
        SwinTransformer([4, 4], 8, DEPTHS, heads, [2, 2], num_classes=7),
        backbone,
        head,
    )


def convnext() -> tuple[nn.Module, dict, dict]:
    ends = [*WIDTHS[1:], None]
    blocks = [CNBlockConfig(*each) for each in zip(WIDTHS, ends, DEPTHS, strict=True)]
    backbone = dict(type='ConvNeXt', arch=dict(depths=DEPTHS, channels=WIDTHS))
    head = dict(type='LinearClsHead', num_classes=7, in_channels=32)
    return ConvNeXt(blocks, num_classes=7), backbone, head


@pytest.mark.parametrize('build', [vit, swin, convnext])
def test_logits(build, tmp_path: Path) -> None:
    model, backbone, head = build()
    randomise(model)
    init_default_scope('mmpretrain')
    neck = dict(type='GlobalAveragePooling') if build is swin else None
    ours = MODELS.build(
        dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)
    )
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    state, source, _ = convert_checkpoint(str(tmp_path / 'a.pth'), 'mmpretrain')
    assert source.startswith('torchvision')
    ours.load_state_dict(state, strict=True)
    ours.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), model(images), rtol=1e-3, atol=1e-3)
