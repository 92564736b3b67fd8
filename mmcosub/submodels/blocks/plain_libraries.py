"""Networks of PyTorch, torchvision, segmentation_models_pytorch and Transformers.

Without DropPath of their own, these need a ``drop_path_rate``. Other networks of these
libraries are run by their DropPath modules.
"""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .notation import register

# Most encoders of segmentation_models_pytorch are built of torchvision's blocks.


def _mb_conv(block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if block._has_expansion:
        x = block._swish(block._bn0(block._expand_conv(x)))
    x = block._swish(block._bn1(block._depthwise_conv(x)))
    if block._has_se:
        squeezed = block._swish(block._se_reduce(F.adaptive_avg_pool2d(x, 1)))
        x = block._se_expand(squeezed).sigmoid() * x
    return block._bn2(block._project_conv(x))


def _run_first(block: Any, x: Tensor, *names: str) -> Tensor:
    """Run the first of these modules that the block has, if any."""
    found = next((getattr(block, n) for n in names if hasattr(block, n)), None)
    return x if found is None else found(x)


def _vit_attention(block: Any, x: Tensor) -> Tensor:
    x = block.ln_1(x)
    return block.dropout(block.self_attention(x, x, x, need_weights=False)[0])


def _encoder_attention(
    block: Any,
    x: Tensor,
    src_mask: Tensor | None = None,
    src_key_padding_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    x = block.norm1(x) if block.norm_first else x
    return block._sa_block(x, src_mask, src_key_padding_mask, is_causal)


def _encoder_mlp(block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return block._ff_block(block.norm2(x) if block.norm_first else x)


def _norm_behind(name: str, block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x if block.norm_first else getattr(block, name)(x)


_norm1_behind, _norm2_behind = (partial(_norm_behind, f'norm{i}') for i in (1, 2))


def _has_rows_first(block: Any) -> bool:
    return block.self_attn.batch_first


def _attention(block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    x = _run_first(block, x, 'layernorm_before', 'norm1')
    x = block.attention(x, *args, **kwargs)
    x = x[0] if isinstance(x, tuple) else x  # the attention weights follow
    return _run_first(block, x, 'layer_scale1', 'dropout', 'hidden_dropout')


def _mlp(block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    x = _run_first(block, x, 'layernorm_after', 'norm2')
    if hasattr(block, 'intermediate'):  # DPT, whose output layer adds the shortcut
        return block.output(block.intermediate(x), 0)
    return _run_first(block, block.mlp(x), 'layer_scale2', 'dropout')


def _mix_mlp(block: Any, x: Tensor, height: int, width: int, **kwargs: Any) -> Tensor:
    return block.hidden_dropout(block.mlp(block.layernorm_after(x), height, width))


register(
    """
[torch.nn.modules]
transformer.TransformerEncoderLayer
    {_encoder_attention}  then {_norm1_behind}  if {_has_rows_first}
    {_encoder_mlp}        then {_norm2_behind}  if {_has_rows_first}

[torchvision.models]
vision_transformer.EncoderBlock
    {_vit_attention}
    ln_2 mlp
resnet.BasicBlock: conv1 bn1 relu conv2 bn2  + downsample?  then relu!
resnet.Bottleneck: conv1 bn1 relu conv2 bn2 relu conv3 bn3  + downsample?  then relu!
mobilenetv2.InvertedResidual: conv  if use_res_connect
mobilenetv3.InvertedResidual: block  if use_res_connect

[segmentation_models_pytorch.encoders._efficientnet]
MBConvBlock: {_mb_conv}  if _has_drop_connect

[transformers.models]
vit.modeling_vit.ViTLayer
deit.modeling_deit.DeiTLayer
dpt.modeling_dpt.DPTViTLayer
    {_attention}
    {_mlp}
dinov2.modeling_dinov2.Dinov2Layer
dinov2_with_registers.modeling_dinov2_with_registers.Dinov2WithRegistersLayer
    {_attention}  @drop_path
    {_mlp}        @drop_path
segformer.modeling_segformer.SegformerLayer
    {_attention}  @drop_path
    {_mix_mlp}    @drop_path
""",
    globals(),
)
