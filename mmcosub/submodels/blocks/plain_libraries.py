"""Networks of torchvision, segmentation_models_pytorch and Transformers.

Without DropPath of their own, these need a ``drop_path_rate``. Other networks of these
libraries are run by their DropPath modules.
"""

from operator import attrgetter
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import IDENTITY, activation, chain, downsampled

# Most encoders of segmentation_models_pytorch are built of torchvision's blocks.
for _name, _layers in (
    ('BasicBlock', 'conv1 bn1 relu conv2 bn2'),
    ('Bottleneck', 'conv1 bn1 relu conv2 bn2 relu conv3 bn3'),
):
    register_block(
        f'torchvision.models.resnet.{_name}',
        Branch(chain(_layers), None, downsampled, activation('relu')),
    )
for _name, _layers in (('mobilenetv2', 'conv'), ('mobilenetv3', 'block')):
    register_block(
        f'torchvision.models.{_name}.InvertedResidual',
        Branch(chain(_layers), exists=attrgetter('use_res_connect')),
    )


def _mb_conv(block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if block._has_expansion:
        x = block._swish(block._bn0(block._expand_conv(x)))
    x = block._swish(block._bn1(block._depthwise_conv(x)))
    if block._has_se:
        squeezed = block._swish(block._se_reduce(F.adaptive_avg_pool2d(x, 1)))
        x = block._se_expand(squeezed).sigmoid() * x
    return block._bn2(block._project_conv(x))


register_block(
    'segmentation_models_pytorch.encoders._efficientnet.MBConvBlock',
    Branch(_mb_conv, exists=attrgetter('_has_drop_connect')),
)


def _first(block: Any, *names: str) -> Any:
    return next((getattr(block, n) for n in names if hasattr(block, n)), IDENTITY)


def _attention(block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    x = _first(block, 'layernorm_before', 'norm1')(x)
    x = block.attention(x, *args, **kwargs)
    x = x[0] if isinstance(x, tuple) else x  # the attention weights follow
    return _first(block, 'layer_scale1', 'dropout', 'hidden_dropout')(x)


def _mlp(block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    x = _first(block, 'layernorm_after', 'norm2')(x)
    if hasattr(block, 'intermediate'):  # DPT, whose output layer adds the shortcut
        return block.output(block.intermediate(x), 0)
    return _first(block, 'layer_scale2', 'dropout')(block.mlp(x))


def _mix_mlp(block: Any, x: Tensor, height: int, width: int, **kwargs: Any) -> Tensor:
    return block.hidden_dropout(block.mlp(block.layernorm_after(x), height, width))


for _name, _feed_forward, _drop_path in (
    ('vit.modeling_vit.ViTLayer', _mlp, None),
    ('deit.modeling_deit.DeiTLayer', _mlp, None),
    ('dpt.modeling_dpt.DPTViTLayer', _mlp, None),
    ('dinov2.modeling_dinov2.Dinov2Layer', _mlp, 'drop_path'),
    (
        'dinov2_with_registers.modeling_dinov2_with_registers.Dinov2WithRegistersLayer',
        _mlp,
        'drop_path',
    ),
    ('segformer.modeling_segformer.SegformerLayer', _mix_mlp, 'drop_path'),
):
    register_block(
        f'transformers.models.{_name}',
        Branch(_attention, _drop_path),
        Branch(_feed_forward, _drop_path),
    )
