"""Transformers of timm with a constant resolution.

ViT and PiT, EVA and DINOv3, BEiT, CaiT, SAM's encoder, NesT, ConViT, MLP-Mixer, ResMLP
and gMLP.
"""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import chain


def _attention(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return block.ls1(block.attn(block.norm1(x), **kwargs))


for _name in ('vision_transformer.Block', 'vision_transformer_relpos.RelPosBlock'):
    register_block(
        f'timm.models.{_name}',
        Branch(_attention, 'drop_path1'),
        Branch(chain('norm2 mlp ls2'), 'drop_path2'),
    )


def _post_norm_attention(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return block.norm1(block.attn(x, **kwargs))


for _name in (
    'vision_transformer.ResPostBlock',
    'vision_transformer_relpos.ResPostRelPosBlock',
    'eva.EvaBlockPostNorm',
):
    register_block(
        f'timm.models.{_name}',
        Branch(_post_norm_attention, 'drop_path1'),
        Branch(chain('mlp norm2'), 'drop_path2'),
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

# The class-attention blocks that follow have no rate and run unmodified.
register_block(
    'timm.models.cait.LayerScaleBlock',
    Branch(_scaled_attention, 'drop_path'),
    Branch(_scaled_mlp, 'drop_path'),
)
register_block(
    'timm.models.nest.TransformerLayer',
    Branch(chain('norm1 attn'), 'drop_path1'),
    Branch(chain('norm2 mlp'), 'drop_path2'),
)
register_block(
    'timm.models.convit.Block',
    Branch(chain('norm1 attn'), 'drop_path'),
    Branch(chain('norm2 mlp'), 'drop_path'),
)


def _mix_tokens(block: Any, x: Tensor) -> Tensor:
    return block.mlp_tokens(block.norm1(x).transpose(1, 2)).transpose(1, 2)


def _res_mlp_tokens(block: Any, x: Tensor) -> Tensor:
    x = block.linear_tokens(block.norm1(x).transpose(1, 2)).transpose(1, 2)
    return block.ls1 * x


def _res_mlp_channels(block: Any, x: Tensor) -> Tensor:
    return block.ls2 * block.mlp_channels(block.norm2(x))


for _name, *_residuals in (
    ('MixerBlock', _mix_tokens, chain('norm2 mlp_channels')),
    ('ResBlock', _res_mlp_tokens, _res_mlp_channels),
    ('SpatialGatingBlock', chain('norm mlp_channels')),
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
    'timm.models.convit.ConVit',  # adds a class token per image between its blocks
    'timm.models.xcit.Xcit',  # adds one after these blocks
    'timm.models.pit.Transformer',  # these reshape outputs by the input batch
    'timm.models.qwen3_vit.Qwen3VitEncoder',
    'timm.models._features.FeatureGetterNet',
)
