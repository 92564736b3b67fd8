"""Further networks of convolutions of MMPretrain, and its MLPs over patches.

HorNet, RepLKNet, RepVGG, MobileOne, ShuffleNetV1, ConvMixer, MLP-Mixer and RepMLP.
"""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import ffn_residual, out_of_place


def _hornet_convolution(block: Any, x: Tensor) -> Tensor:
    return block.gamma1(block.gnconv(block.norm1(x)))


def _hornet_mlp(block: Any, x: Tensor) -> Tensor:
    x = block.norm2(x.permute(0, 2, 3, 1))
    x = block.gamma2(block.pwconv2(block.act(block.pwconv1(x))))
    return x.permute(0, 3, 1, 2)


register_block(
    'mmpretrain.models.backbones.hornet.HorNetBlock',
    Branch(_hornet_convolution, 'drop_path'),
    Branch(_hornet_mlp, 'drop_path'),
)


def _large_kernel(block: Any, x: Tensor) -> Tensor:
    x = block.pw1(block.prelkb_bn(x))
    return block.pw2(block.lk_nonlinear(block.large_kernel(x)))


def _large_kernel_ffn(block: Any, x: Tensor) -> Tensor:
    return block.pw2(block.nonlinear(block.pw1(block.preffn_bn(x))))


register_block(
    'mmpretrain.models.backbones.replknet.RepLKBlock',
    Branch(_large_kernel, 'drop_path'),
)
register_block(
    'mmpretrain.models.backbones.replknet.ConvFFN',
    Branch(_large_kernel_ffn, 'drop_path'),
)


def _repvgg(block: Any, x: Tensor) -> Tensor:
    return block.branch_3x3(x) + block.branch_1x1(x)


def _mobile_one(block: Any, x: Tensor) -> Tensor:
    convolutions = [conv(x) for conv in block.branch_conv_list]
    if block.branch_scale is not None:
        convolutions.append(block.branch_scale(x))
    return sum(convolutions[1:], convolutions[0])


def _normed(block: Any, x: Tensor) -> Tensor:
    return block.branch_norm(x)


def _repvgg_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act, x if block.se_cfg is None else block.se_layer(x))


def _mobile_one_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act, block.se(x))


def _has_identity(block: Any) -> bool:
    return not block.deploy and block.branch_norm is not None


# A block that is folded into one convolution has no branch left.
register_block(
    'mmpretrain.models.backbones.repvgg.RepVGGBlock',
    Branch(_repvgg, shortcut=_normed, after=_repvgg_activation, exists=_has_identity),
)
register_block(
    'mmpretrain.models.backbones.mobileone.MobileOneBlock',
    Branch(
        _mobile_one,
        shortcut=_normed,
        after=_mobile_one_activation,
        exists=_has_identity,
    ),
)


def _shuffle(block: Any, x: Tensor) -> Tensor:
    x = block.depthwise_conv3x3_bn(block.g_conv_1x1_compress(x))
    x = x.unflatten(1, (block.groups, -1)).transpose(1, 2).flatten(1, 2)
    return block.g_conv_1x1_expand(x)


def _shuffle_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act, x)


def _adds(block: Any) -> bool:
    return block.combine == 'add'


register_block(
    'mmpretrain.models.backbones.shufflenet_v1.ShuffleUnit',
    Branch(_shuffle, after=_shuffle_activation, exists=_adds),
)


def _conv_mixer(block: Any, x: Tensor) -> Tensor:
    return block.fn(x)


register_block('mmpretrain.models.backbones.convmixer.Residual', Branch(_conv_mixer))


def _mix_tokens(block: Any, x: Tensor) -> Tensor:
    x = block.norm1(x).transpose(1, 2)
    return ffn_residual(block.token_mix, x).transpose(1, 2)


def _mix_channels(block: Any, x: Tensor) -> Tensor:
    return ffn_residual(block.channel_mix, block.norm2(x))


register_block(
    'mmpretrain.models.backbones.mlp_mixer.MixerBlock',
    Branch(_mix_tokens, 'token_mix.dropout_layer'),
    Branch(_mix_channels, 'channel_mix.dropout_layer'),
)


def _rep_mlp(block: Any, x: Tensor) -> Tensor:
    return block.repmlp_block(block.norm1(x))


def _rep_mlp_ffn(block: Any, x: Tensor) -> Tensor:
    return block.ffn_block(block.norm2(x))


register_block(
    'mmpretrain.models.backbones.repmlp.RepMLPNetUnit',
    Branch(_rep_mlp),
    Branch(_rep_mlp_ffn),
)
