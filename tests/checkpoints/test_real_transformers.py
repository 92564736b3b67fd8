"""Networks of Transformers as they are saved in memory and on disk, if it is installed.

What they compute is compared with mmpretrain's or timm's network of the same weights.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints.test_starting_points import by_timm, ours, randomise
from torch import nn

from mmcosub.checkpoints import load_backbone

transformers = pytest.importorskip('transformers', '5.0')

SIZE = dict(image_size=64, patch_size=16)
WIDTH = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
VIT = dict(**SIZE, **WIDTH, intermediate_size=128)
DINO = dict(**SIZE, **WIDTH, mlp_ratio=4)


def vit(**kwargs: Any) -> nn.Module:
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=128)
    return ours(
        type='mmpretrain.VisionTransformer', arch=arch, img_size=64, patch_size=16,
        out_type='raw', out_indices=1, **kwargs,
    )  # fmt: skip


def swin() -> nn.Module:
    arch = dict(embed_dims=8, depths=[2, 1, 1, 1], num_heads=[1, 2, 4, 8])
    return ours(
        type='mmpretrain.SwinTransformer', arch=arch, img_size=64, window_size=2,
    )  # fmt: skip


def convnext(**kwargs: Any) -> nn.Module:
    arch = dict(depths=[1, 2, 1, 1], channels=[8, 16, 24, 32])
    return ours(
        type='mmpretrain.ConvNeXt', arch=arch, gap_before_final_norm=False, **kwargs
    )


def mit() -> nn.Module:
    return ours(
        type='MixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1),
        num_heads=(1, 2, 3, 4), sr_ratios=(8, 4, 2, 1),
    )  # fmt: skip


CONVNEXT = dict(depths=[1, 2, 1, 1], hidden_sizes=[8, 16, 24, 32])
# Class in Transformers without 'Model', its settings, and the backbone.
NETWORKS = {
    'ViT': ('ViT', VIT, vit),
    'DINOv2': ('Dinov2', DINO, lambda: vit(layer_scale_init_value=1e-5)),
    'gated DINOv2': (
        'Dinov2',
        dict(DINO, use_swiglu_ffn=True),
        lambda: by_timm(
            'vit_giant_patch14_dinov2', patch=16, mlp_ratio=2 * 88 / 32
        ),
    ),
    'DINOv3': (
        'DINOv3ViT',
        dict(VIT, num_register_tokens=4),
        lambda: by_timm('vit_small_patch16_dinov3_qkvb', patch=16),
    ),
    'Swin': (
        'Swin',
        dict(
            embed_dim=8,
            depths=[2, 1, 1, 1],
            num_heads=[1, 2, 4, 8],
            image_size=64,
            window_size=2,
        ),
        swin,
    ),
    'ConvNeXt': ('ConvNext', CONVNEXT, convnext),
    'ConvNeXt V2': (
        'ConvNextV2',
        CONVNEXT,
        lambda: convnext(use_grn=True, layer_scale_init_value=0.0),
    ),
    'SegFormer': (
        'Segformer',
        dict(
            depths=[1] * 4,
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 2, 3, 4],
        ),
        mit,
    ),
}  # fmt: skip


@pytest.mark.parametrize('saved', ['in memory', 'on disk'])
@pytest.mark.parametrize('name', NETWORKS)
def test_features(name: str, saved: str, tmp_path: Path) -> None:
    kind, settings, build = NETWORKS[name]
    config = getattr(transformers, f'{kind}Config')(**settings)
    model = randomise(getattr(transformers, f'{kind}Model')(config))
    if saved == 'on disk':
        model.save_pretrained(tmp_path)
        file = str(tmp_path)
    else:
        file = str(tmp_path / 'a.pth')
        torch.save(model.state_dict(), file)
    backbone = build()
    report = load_backbone(backbone, file)
    assert report.match == 1
    assert not report.unused
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images, output_hidden_states=True)
        got = backbone(images)[-1]
    if got.ndim == 3:
        expected = expected.last_hidden_state
    elif name in ('DINOv3', 'gated DINOv2'):
        tokens = expected.hidden_states[-1][:, -16:]
        expected = tokens.transpose(1, 2).unflatten(2, (4, 4))
    elif name == 'Swin':
        expected = expected.last_hidden_state.transpose(1, 2).unflatten(2, (2, 2))
    else:
        expected = expected.last_hidden_state
    if name.startswith('ConvNeXt'):  # mmpretrain normalises feature maps
        expected = backbone.norm3(expected)
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
