"""Networks of timm.

ViT and PiT, EVA and DINOv3, BEiT, CaiT, SAM's encoder, NesT, ConViT, XCiT, MLP-Mixer,
ResMLP and gMLP; Swin and SwinV2, PVTv2, Twins, Hiera, MaxViT, CoAtNet and FocalNet;
ConvNeXt, RegNet, ResNet, EfficientNet, PoolFormer and other MetaFormers, InceptionNeXt
and MambaOut.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import register_block

from .notation import chain, register

_channels_first = chain('norm mlp ls?')
_channels_last = chain('> norm mlp ls? <')


def _convnext(block: Any, x: Tensor) -> Tensor:
    mlp = _channels_first if block.use_conv_mlp else _channels_last
    return mlp(block, block.conv_dw(x))


def _hiera_shortcut(block: Any, x: Tensor) -> Tensor:
    if not block.do_expand:
        return x
    y = x if block.proj is None else block.proj(block.norm1(x))
    y = y.unflatten(1, (block.attn.q_stride, -1))
    if block.proj is None:
        return torch.cat([y.amax(dim=1), y.mean(dim=1)], dim=-1)
    return y.amax(dim=1)


def _gated_convolution(block: Any, x: Tensor) -> Tensor:
    x = block.fc1(block.norm(x))
    gate, identity, maps = torch.split(x, block.split_indices, dim=-1)
    maps = block.conv(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return block.ls(block.fc2(block.act(gate) * torch.cat((identity, maps), dim=-1)))


register(
    """
[timm.models]
vision_transformer.Block
vision_transformer_relpos.RelPosBlock
    norm1 attn() ls1  @drop_path1
    norm2 mlp ls2     @drop_path2
vision_transformer.ResPostBlock
vision_transformer_relpos.ResPostRelPosBlock
eva.EvaBlockPostNorm
    attn() norm1  @drop_path1
    mlp norm2     @drop_path2
eva.EvaBlock  # also of DINOv3
beit.Block
    norm1 attn() *gamma_1  @drop_path1
    norm2 mlp *gamma_2     @drop_path2
cait.LayerScaleBlock  # the class-attention blocks have no rate and run unmodified
    norm1 attn() *gamma_1  @drop_path
    norm2 mlp *gamma_2     @drop_path
nest.TransformerLayer
    norm1 attn  @drop_path1
    norm2 mlp   @drop_path2
convit.Block
    norm1 attn  @drop_path
    norm2 mlp   @drop_path
xcit.XCABlock
    norm1 attn *gamma1        @drop_path1
    norm3 local_mp() *gamma3  @drop_path3
    norm2 mlp *gamma2         @drop_path2
mlp_mixer.MixerBlock
    norm1 ~ mlp_tokens ~  @drop_path
    norm2 mlp_channels    @drop_path
mlp_mixer.ResBlock
    norm1 ~ linear_tokens ~ *ls1  @drop_path
    norm2 mlp_channels *ls2       @drop_path
mlp_mixer.SpatialGatingBlock: norm mlp_channels  @drop_path

# Pyramids.
swin_transformer.SwinTransformerBlock
    norm1 _attn  @drop_path1
    norm2 mlp    @drop_path2
swin_transformer_v2.SwinTransformerV2Block
    _attn norm1  @drop_path1
    mlp norm2    @drop_path2
swin_transformer_v2_cr.SwinTransformerV2CrBlock
    _shifted_window_attn norm1  @drop_path1
    mlp norm2                   @drop_path2  then norm3
pvt_v2.Block
    norm1 attn()  @drop_path1
    norm2 mlp()   @drop_path2
twins.Block
    norm1 attn()  @drop_path1
    norm2 mlp     @drop_path2
hiera.HieraBlock
    norm1 attn ls1  @drop_path1  + {_hiera_shortcut}
    norm2 mlp ls2   @drop_path2
maxxvit.PartitionAttentionCl
maxxvit.ParallelPartitionAttention
maxxvit.PartitionAttention2d
    norm1 _partition_attn ls1  @drop_path1
    norm2 mlp ls2              @drop_path2
maxxvit.MbConvBlock
    pre_norm down conv1_1x1 norm1 conv2_kxk se_early? norm2 se? conv3_1x1 \
        @drop_path  + shortcut
maxxvit.ConvNeXtBlock: down {_convnext}  @drop_path  + shortcut
maxxvit.TransformerBlock2d  # CoAtNet
    norm1 attn() ls1  @drop_path1  + shortcut
    norm2 mlp ls2     @drop_path2
focalnet.FocalNetBlock
    norm1 modulation norm1_post ls1  @drop_path1
    norm2 mlp norm2_post ls2         @drop_path2
convnext.ConvNeXtBlock  # V1 and V2
    {_convnext} *gamma:  @drop_path  + shortcut
inception_next.MetaNeXtBlock: token_mixer norm mlp *gamma:  @drop_path
regnet.Bottleneck  # RegNetX, RegNetY and RegNetZ, which has blocks without a shortcut
    conv1 conv2 se conv3  @drop_path  + downsample  then act3!  if downsample
resnet.BasicBlock  # also ResNeXt, SE-ResNet and other variants
    conv1 bn1 drop_block act1 aa conv2 bn2 se? \
        @drop_path  + downsample?  then act2!
resnet.Bottleneck
    conv1 bn1 act1 conv2 bn2 drop_block act2 aa conv3 bn3 se? \
        @drop_path  + downsample?  then act3!

# PoolFormer, ConvFormer and CAFormer. timm drops before the layer scale, which is
# equivalent.
metaformer.MetaFormerBlock
    norm1 token_mixer layer_scale1  @drop_path1  + res_scale1
    norm2 mlp layer_scale2          @drop_path2  + res_scale2
mambaout.GatedConvBlock: {_gated_convolution}  @drop_path

# EfficientNet and V2, MobileNetV3 and V4, and others.
[timm.models._efficientnet_blocks]
ConvBnAct: conv bn1 aa  @drop_path  if has_skip
DepthwiseSeparableConv
    conv_s2d? bn_s2d? conv_dw bn1 aa se conv_pw bn2  @drop_path  if has_skip
InvertedResidual
    conv_s2d? bn_s2d? conv_pw bn1 conv_dw bn2 aa se conv_pwl bn3 \
        @drop_path  if has_skip
UniversalInvertedResidual
    dw_start pw_exp dw_mid se pw_proj dw_end layer_scale  @drop_path  if has_skip
EdgeResidual: conv_exp bn1 aa se conv_pwl bn2  @drop_path  if has_skip
""",
    globals(),
)

# The rows of its transformer are positions in a patch, not images. See drop_paths.
register_block('timm.models.mobilevit.MobileVitBlock')
