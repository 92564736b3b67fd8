"""Blocks whose whole networks have no tiny form."""

from functools import partial

from mmpretrain.models.backbones.conformer import Conformer
from mmpretrain.models.backbones.cspnet import CSPNet, DarknetBottleneck
from mmpretrain.models.backbones.efficientformer import Meta3D
from mmpretrain.models.backbones.efficientnet import EdgeResidual
from mmpretrain.models.backbones.efficientnet_v2 import EnhancedConvModule
from mmpretrain.models.backbones.levit import MLP, Attention, Residual
from mmpretrain.models.backbones.resnet import Bottleneck
from mmpretrain.models.backbones.vig import FFN, Grapher
from mmpretrain.models.utils import InvertedResidual
from torch import Tensor, nn

CHANNELS = 8


class Blocks(nn.Module):
    """Maps of 4 x 4 (7 x 7 at a stride of 4), through some blocks."""

    def __init__(self, *blocks: nn.Module, stride: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 8, stride)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.blocks(self.stem(images)),)


def vig(rate: float) -> nn.Module:
    """Two Graphers and FFNs of ViG."""
    blocks: list[nn.Module] = []
    for dilation in (1, 2):
        graph = Grapher(
            CHANNELS,
            2,
            dilation,
            norm_cfg=dict(type='BN'),
            n=16,
            relative_pos=True,
            drop_path=rate,
        )
        blocks += [graph, FFN(CHANNELS, 16, drop_path=rate)]
    return Blocks(*blocks)


def levit(rate: float) -> nn.Module:
    """One stage of LeViT."""
    attention = Attention(CHANNELS, 4, 2, 2, dict(type='HSwish'), resolution=4)
    mlp = MLP(CHANNELS, 2, dict(type='HSwish'))
    return Blocks(
        nn.Flatten(2), Tokens(), Residual(attention, rate), Residual(mlp, rate)
    )


def efficientformer(rate: float) -> nn.Module:
    """The blocks of EfficientFormer that have attention, over 49 tokens."""
    blocks = [Meta3D(CHANNELS, drop_path=rate) for _ in range(2)]
    return Blocks(nn.Flatten(2), Tokens(), *blocks, stride=4)


class Flat(nn.Module):
    """A network that puts out pairs, as one that puts out their members."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(feature for pair in self.model(images) for feature in pair)


def conformer(rate: float) -> nn.Module:
    """Conformer without drop path, whose convolutions are not known."""
    arch = dict(embed_dims=8, depths=6, channel_ratio=1, num_heads=2)
    return Flat(Conformer(arch=arch, base_channels=4, patch_size=16))


class Tokens(nn.Module):
    """Channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def efficientnet(rate: float) -> nn.Module:
    """The blocks of EfficientNet and EfficientNetV2, with shortcut and without."""
    se = dict(channels=16, ratio=4)
    rates = dict(drop_path_rate=rate)
    return Blocks(
        EnhancedConvModule(CHANNELS, CHANNELS, 3, padding=1, has_skip=True, **rates),
        EdgeResidual(CHANNELS, CHANNELS, 16, se_cfg=se, **rates),
        EdgeResidual(CHANNELS, CHANNELS, 16, with_residual=False, **rates),
        InvertedResidual(CHANNELS, CHANNELS, 16, se_cfg=se, **rates),
        InvertedResidual(CHANNELS, CHANNELS, 16, stride=2, **rates),
    )


def _csp(block: type[nn.Module], rate: float) -> nn.Module:
    arch = dict(
        block_fn=block,
        in_channels=(CHANNELS, 8),
        out_channels=(8, 16),
        num_blocks=(1, 2),
        expand_ratio=2,
        bottle_ratio=1,
        has_downsampler=True,
        block_args={},
    )
    stem = partial(nn.Conv2d, out_channels=CHANNELS, kernel_size=4, stride=4)
    return CSPNet(arch, stem, out_indices=(0, 1), drop_path_rate=rate)


def csp_darknet(rate: float) -> nn.Module:
    """CSPNet of Darknet's blocks."""
    return _csp(DarknetBottleneck, rate)


def csp_resnet(rate: float) -> nn.Module:
    """CSPNet of ResNet's blocks."""
    return _csp(Bottleneck, rate)
