"""Tiny models of timm and torchvision, in float64 and training mode, and a batch."""

from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.swin_transformer import SwinTransformer

RATE = 0.4
LABELS = torch.tensor([0, 1, 4, 2])

TIMM = {
    'ViT': partial(
        timm.create_model, 'vit_tiny_patch16_224', img_size=32, depth=3, embed_dim=48
    ),
    'ConvNeXt': partial(
        timm.create_model, 'convnext_atto', depths=(1, 2, 2, 1), dims=(8, 8, 16, 16)
    ),
    'ResNet': partial(
        timm.create_model, 'resnet18', channels=(8, 8, 16, 16), stem_width=8
    ),
}
TORCHVISION = {
    'Swin': partial(
        SwinTransformer, [4, 4], 8, [2, 2], [1, 2], [4, 4], stochastic_depth_prob=RATE
    ),
    'ConvNeXt': partial(
        ConvNeXt,
        [CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 2)],
        stochastic_depth_prob=RATE,
        layer_scale=1.0,
    ),
}


def timm_model(name: str = 'ViT', rate: float = RATE) -> nn.Module:
    """A tiny model of timm whose branches matter."""
    torch.manual_seed(0)
    model = TIMM[name](num_classes=5, drop_path_rate=rate).double()
    for module in model.modules():
        if isinstance(getattr(module, 'gamma', None), nn.Parameter):
            nn.init.ones_(module.gamma)  # ConvNeXt's
    return model


def torchvision_model(name: str) -> nn.Module:
    """A tiny model of torchvision."""
    torch.manual_seed(0)
    return TORCHVISION[name](num_classes=5).double()


def images(batch: int = 4, size: int = 32) -> Tensor:
    """A batch of noise."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, size, size, generator=generator, dtype=torch.float64)


def gradients(model: nn.Module, loss: Any) -> list[Tensor]:
    """Gradients of a loss, where there are any."""
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]
