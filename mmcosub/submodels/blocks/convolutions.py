"""Other convolutional networks and MLPs of MMPretrain and MMSegmentation.

MobileNet, EfficientNet, ConvNeXt, HorNet, RepLKNet, RepVGG, MobileOne, ShuffleNetV1,
ConvMixer, MLP-Mixer and RepMLP.
"""

from typing import Any

from torch import Tensor

from .notation import register


def _enhanced_conv(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    from mmcv.cnn import ConvModule  # installed if such a block exists

    return ConvModule.forward(block, x, **kwargs)


def _convnext(block: Any, x: Tensor) -> Tensor:
    x = block.depthwise_conv(x)
    layout = 'channel_last' if block.linear_pw_conv else 'channel_first'
    if block.linear_pw_conv:
        x = x.permute(0, 2, 3, 1)
    x = block.act(block.pointwise_conv1(block.norm(x, data_format=layout)))
    if block.grn is not None:
        x = block.grn(x, data_format=layout)
    x = block.pointwise_conv2(x)
    return x.permute(0, 3, 1, 2) if block.linear_pw_conv else x


def _repvgg(block: Any, x: Tensor) -> Tensor:
    return block.branch_3x3(x) + block.branch_1x1(x)


def _mobile_one(block: Any, x: Tensor) -> Tensor:
    convolutions = [conv(x) for conv in block.branch_conv_list]
    if block.branch_scale is not None:
        convolutions.append(block.branch_scale(x))
    return sum(convolutions[1:], convolutions[0])


def _has_identity(block: Any) -> bool:
    """False also for a block that is folded into one convolution."""
    return not block.deploy and block.branch_norm is not None


def _shuffle(block: Any, x: Tensor) -> Tensor:
    x = block.depthwise_conv3x3_bn(block.g_conv_1x1_compress(x))
    x = x.unflatten(1, (block.groups, -1)).transpose(1, 2).flatten(1, 2)
    return block.g_conv_1x1_expand(x)


def _adds(block: Any) -> bool:
    return block.combine == 'add'


register(
    """
[mmpretrain.models]
backbones.mobilenet_v2.InvertedResidual: conv  if use_res_connect
utils.inverted_residual.InvertedResidual  # MobileNetV3, EfficientNet, MobileViT
    expand_conv? depthwise_conv se? linear_conv  @drop_path  if with_res_shortcut
backbones.efficientnet.EdgeResidual: conv1 se? conv2  @drop_path  if with_residual
backbones.efficientnet_v2.EnhancedConvModule: {_enhanced_conv}  @drop_path  if has_skip
backbones.convnext.ConvNeXtBlock  # V1 and V2 (which has `grn`)
    {_convnext} *gamma:  @drop_path
backbones.hornet.HorNetBlock
    norm1 gnconv gamma1  @drop_path
    > norm2 pwconv1 act pwconv2 gamma2 <  @drop_path
backbones.replknet.RepLKBlock: prelkb_bn pw1 large_kernel lk_nonlinear pw2  @drop_path
backbones.replknet.ConvFFN: preffn_bn pw1 nonlinear pw2  @drop_path
backbones.repvgg.RepVGGBlock
    {_repvgg}  + branch_norm  then se_layer? act!  if {_has_identity}
backbones.mobileone.MobileOneBlock
    {_mobile_one}  + branch_norm  then se act!  if {_has_identity}
backbones.shufflenet_v1.ShuffleUnit: {_shuffle}  then act!  if {_adds}
backbones.convmixer.Residual: fn
backbones.mlp_mixer.MixerBlock
    norm1 ~ -token_mix ~  @token_mix.dropout_layer
    norm2 -channel_mix    @channel_mix.dropout_layer
backbones.repmlp.RepMLPNetUnit
    norm1 repmlp_block
    norm2 ffn_block

[mmseg.models.utils.inverted_residual]
InvertedResidual  # MobileNetV2 and Fast-SCNN
    conv  if use_res_connect
InvertedResidualV3: expand_conv? depthwise_conv se? linear_conv  if with_res_shortcut
""",
    globals(),
)
