"""Further convolutional networks and MLPs of MMPretrain.

HorNet, RepLKNet, RepVGG, MobileOne, ShuffleNetV1, ConvMixer, MLP-Mixer and RepMLP.
"""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import activation, chain, ffn_residual, out_of_place


def _hornet_mlp(block: Any, x: Tensor) -> Tensor:
    x = block.norm2(x.permute(0, 2, 3, 1))
    x = block.gamma2(block.pwconv2(block.act(block.pwconv1(x))))
    return x.permute(0, 3, 1, 2)


register_block(
    'mmpretrain.models.backbones.hornet.HorNetBlock',
    Branch(chain('norm1 gnconv gamma1'), 'drop_path'),
    Branch(_hornet_mlp, 'drop_path'),
)
register_block(
    'mmpretrain.models.backbones.replknet.RepLKBlock',
    Branch(chain('prelkb_bn pw1 large_kernel lk_nonlinear pw2'), 'drop_path'),
)
register_block(
    'mmpretrain.models.backbones.replknet.ConvFFN',
    Branch(chain('preffn_bn pw1 nonlinear pw2'), 'drop_path'),
)


def _repvgg(block: Any, x: Tensor) -> Tensor:
    return block.branch_3x3(x) + block.branch_1x1(x)


def _mobile_one(block: Any, x: Tensor) -> Tensor:
    convolutions = [conv(x) for conv in block.branch_conv_list]
    if block.branch_scale is not None:
        convolutions.append(block.branch_scale(x))
    return sum(convolutions[1:], convolutions[0])


def _repvgg_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act, x if block.se_cfg is None else block.se_layer(x))


def _mobile_one_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act, block.se(x))


def _has_identity(block: Any) -> bool:
    return not block.deploy and block.branch_norm is not None


# A block that is folded into one convolution has no branch left.
for _name, _residual, _after in (
    ('repvgg.RepVGGBlock', _repvgg, _repvgg_activation),
    ('mobileone.MobileOneBlock', _mobile_one, _mobile_one_activation),
):
    register_block(
        f'mmpretrain.models.backbones.{_name}',
        Branch(_residual, None, chain('branch_norm'), _after, _has_identity),
    )


def _shuffle(block: Any, x: Tensor) -> Tensor:
    x = block.depthwise_conv3x3_bn(block.g_conv_1x1_compress(x))
    x = x.unflatten(1, (block.groups, -1)).transpose(1, 2).flatten(1, 2)
    return block.g_conv_1x1_expand(x)


def _adds(block: Any) -> bool:
    return block.combine == 'add'


register_block(
    'mmpretrain.models.backbones.shufflenet_v1.ShuffleUnit',
    Branch(_shuffle, after=activation('act'), exists=_adds),
)
register_block('mmpretrain.models.backbones.convmixer.Residual', Branch(chain('fn')))


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
register_block(
    'mmpretrain.models.backbones.repmlp.RepMLPNetUnit',
    Branch(chain('norm1 repmlp_block')),
    Branch(chain('norm2 ffn_block')),
)
