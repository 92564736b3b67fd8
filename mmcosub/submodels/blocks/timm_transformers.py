"""Transformers of timm that keep their resolution.

ViT and PiT, EVA and DINOv3, BEiT, CaiT, SAM's encoder, NesT, ConViT, MLP-Mixer, ResMLP
and gMLP.
"""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch


def _attention(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return block.ls1(block.attn(block.norm1(x), **kwargs))


def _mlp(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return block.ls2(block.mlp(block.norm2(x)))


for _name in ('vision_transformer.Block', 'vision_transformer_relpos.RelPosBlock'):
    register_block(
        f'timm.models.{_name}',
        Branch(_attention, 'drop_path1'),
        Branch(_mlp, 'drop_path2'),
    )


def _post_norm_attention(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return block.norm1(block.attn(x, **kwargs))


def _post_norm_mlp(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return block.norm2(block.mlp(x))


for _name in (
    'vision_transformer.ResPostBlock',
    'vision_transformer_relpos.ResPostRelPosBlock',
    'eva.EvaBlockPostNorm',
):
    register_block(
        f'timm.models.{_name}',
        Branch(_post_norm_attention, 'drop_path1'),
        Branch(_post_norm_mlp, 'drop_path2'),
    )


def _scaled_attention(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    x = block.attn(block.norm1(x), **kwargs)
    return x if block.gamma_1 is None else block.gamma_1 * x


def _scaled_mlp(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    x = block.mlp(block.norm2(x))
    return x if block.gamma_2 is None else block.gamma_2 * x


# EVA and DINOv3.
for _name in ('eva.EvaBlock', 'beit.Block'):
    register_block(
        f'timm.models.{_name}',
        Branch(_scaled_attention, 'drop_path1'),
        Branch(_scaled_mlp, 'drop_path2'),
    )

# The class-attention blocks that follow have no rate and run whole.
register_block(
    'timm.models.cait.LayerScaleBlock',
    Branch(_scaled_attention, 'drop_path'),
    Branch(_scaled_mlp, 'drop_path'),
)


def _plain_attention(block: Any, x: Tensor) -> Tensor:
    return block.attn(block.norm1(x))


def _plain_mlp(block: Any, x: Tensor) -> Tensor:
    return block.mlp(block.norm2(x))


register_block(
    'timm.models.nest.TransformerLayer',
    Branch(_plain_attention, 'drop_path1'),
    Branch(_plain_mlp, 'drop_path2'),
)
register_block(
    'timm.models.convit.Block',
    Branch(_plain_attention, 'drop_path'),
    Branch(_plain_mlp, 'drop_path'),
)


def _mix_tokens(block: Any, x: Tensor) -> Tensor:
    return block.mlp_tokens(block.norm1(x).transpose(1, 2)).transpose(1, 2)


def _mix_channels(block: Any, x: Tensor) -> Tensor:
    return block.mlp_channels(block.norm2(x))


def _res_mlp_tokens(block: Any, x: Tensor) -> Tensor:
    x = block.linear_tokens(block.norm1(x).transpose(1, 2)).transpose(1, 2)
    return block.ls1 * x


def _res_mlp_channels(block: Any, x: Tensor) -> Tensor:
    return block.ls2 * block.mlp_channels(block.norm2(x))


def _gated_mlp(block: Any, x: Tensor) -> Tensor:
    return block.mlp_channels(block.norm(x))


for _name, *_residuals in (
    ('MixerBlock', _mix_tokens, _mix_channels),
    ('ResBlock', _res_mlp_tokens, _res_mlp_channels),
    ('SpatialGatingBlock', _gated_mlp),
):
    register_block(
        f'timm.models.mlp_mixer.{_name}',
        *[Branch(residual, 'drop_path') for residual in _residuals],
    )


def _xcit_attention(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma1 * block.attn(block.norm1(x))


def _xcit_local(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma3 * block.local_mp(block.norm3(x), *hw)


def _xcit_mlp(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma2 * block.mlp(block.norm2(x))


register_block(
    'timm.models.xcit.XCABlock',
    Branch(_xcit_attention, 'drop_path1'),
    Branch(_xcit_local, 'drop_path3'),
    Branch(_xcit_mlp, 'drop_path2'),
)

register_fixed_batch(
    'timm.models.convit.ConVit',  # a class token per image comes in between
    'timm.models.xcit.Xcit',  # and here behind these blocks
    'timm.models.pit.Transformer',  # its output is reshaped by its input's batch
    'timm.models.qwen3_vit.Qwen3VitEncoder',  # as well
    'timm.models._features.FeatureGetterNet',  # features are, too
)
