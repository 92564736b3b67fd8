"""What is converted loads strictly in the target library, and computes the same."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from checkpoints.test_starting_points import randomise
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmseg.registry import MODELS as SEGMENTORS
from timm.models.beit import Beit
from timm.models.convnext import ConvNeXt
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from timm.models.xcit import Xcit
from torch import nn

from mmcosub.checkpoints import convert_checkpoint

VIT = dict(img_size=32, patch_size=16, embed_dim=24, depth=2, num_heads=2)
ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=96)
OUR_VIT = dict(type='VisionTransformer', arch=ARCH, img_size=32)
WIDTHS, DEPTHS, HEADS = [8, 16, 24, 32], [1, 2, 1, 1], [1, 2, 4, 8]
POOLED = dict(type='GlobalAveragePooling')


def head(channels: int, kind: str = 'Linear', **kwargs: Any) -> dict:
    return dict(type=f'{kind}ClsHead', num_classes=7, in_channels=channels, **kwargs)


def ours(backbone: dict, head: dict | None, neck: dict | None = None) -> nn.Module:
    init_default_scope('mmpretrain')
    cfg = dict(backbone=backbone, neck=neck, head=head)
    return MODELS.build(dict(type='ImageClassifier', **cfg))


def resnet(block: type, layers: list[int], kind: str, depth: int, **kwargs: Any) -> Any:
    return (
        lambda **n: ResNet(block, layers, **kwargs, **n),
        lambda head: ours(dict(type=kind, depth=depth), head, POOLED),
        head(512 * block.expansion),
    )


# timm's network, mmpretrain's, and the head of the latter.
PAIRS: dict[str, tuple] = {
    'ViT': (
        lambda **n: VisionTransformer(**VIT, **n),
        lambda head: ours(OUR_VIT, head),
        head(24, 'VisionTransformer'),
    ),
    'ViT, averaged': (
        lambda **n: VisionTransformer(**VIT, global_pool='avg', **n),
        lambda head: ours(
            dict(OUR_VIT, out_type='avg_featmap', final_norm=False), head
        ),
        head(24),
    ),
    'ViT with pre-norm': (
        lambda **n: VisionTransformer(**VIT, pre_norm=True, **n),
        lambda head: ours(
            dict(OUR_VIT, pre_norm=True, patch_cfg=dict(bias=False)), head
        ),
        head(24, 'VisionTransformer'),
    ),
    'LayerScale': (
        lambda **n: VisionTransformer(**VIT, init_values=1.0, **n),
        lambda head: ours(dict(OUR_VIT, layer_scale_init_value=1.0), head),
        head(24, 'VisionTransformer'),
    ),
    'DeiT': (
        lambda **n: VisionTransformerDistilled(**VIT, **n),
        lambda head: ours(dict(OUR_VIT, type='DistilledVisionTransformer'), head),
        head(24, 'DeiT'),
    ),
    'BEiT': (
        lambda **n: Beit(
            **VIT, use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1, **n
        ),
        lambda head: ours(dict(OUR_VIT, type='BEiTViT'), head),
        head(24),
    ),
    'Swin': (
        lambda **n: SwinTransformer(
            32, 2, embed_dim=8, depths=DEPTHS, num_heads=HEADS, window_size=2, **n
        ),
        lambda head: ours(
            dict(
                type='SwinTransformer',
                arch=dict(embed_dims=8, depths=DEPTHS, num_heads=HEADS),
                patch_size=2,
                window_size=2,
            ),
            head,
            POOLED,
        ),
        head(64),
    ),
    'Swin of two stages': (
        lambda **n: SwinTransformer(
            32, 2, embed_dim=8, depths=[1, 2], num_heads=[1, 2], window_size=2, **n
        ),
        lambda head: ours(
            dict(
                type='SwinTransformer',
                arch=dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2]),
                patch_size=2,
                window_size=2,
                out_indices=(1,),
            ),
            head,
            POOLED,
        ),
        head(16),
    ),
    'ConvNeXt': (
        lambda **n: ConvNeXt(depths=DEPTHS, dims=WIDTHS, **n),
        lambda head: ours(
            dict(type='ConvNeXt', arch=dict(depths=DEPTHS, channels=WIDTHS)), head
        ),
        head(32),
    ),
    'ConvNeXt V2': (
        lambda **n: ConvNeXt(
            depths=DEPTHS, dims=WIDTHS, use_grn=True, ls_init_value=None, **n
        ),
        lambda head: ours(
            dict(
                type='ConvNeXt',
                arch=dict(depths=DEPTHS, channels=WIDTHS),
                use_grn=True,
                layer_scale_init_value=0.0,
            ),
            head,
        ),
        head(32),
    ),
    'XCiT': (
        lambda **n: Xcit(
            32, 16, embed_dim=24, depth=2, num_heads=2, cls_attn_layers=1, **n
        ),
        lambda head: ours(
            dict(
                type='XCiT', embed_dims=24, depth=2, num_heads=2, cls_attn_layers=1,
                img_size=32,
            ),
            head,
        ),
        head(24),
    ),
    'ResNet-18': resnet(BasicBlock, [2, 2, 2, 2], 'ResNet', 18),
    'ResNet-50': resnet(Bottleneck, [3, 4, 6, 3], 'ResNet', 50),
    'ResNet-50c': resnet(
        Bottleneck, [3, 4, 6, 3], 'ResNetV1c', 50, stem_type='deep', stem_width=32
    ),
    'ResNet-50d': resnet(
        Bottleneck, [3, 4, 6, 3], 'ResNetV1d', 50, stem_type='deep', stem_width=32,
        avg_down=True,
    ),
    'ResNeXt-50': resnet(
        Bottleneck, [3, 4, 6, 3], 'ResNeXt', 50, cardinality=32, base_width=4
    ),
}  # fmt: skip


def logits(model: nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(
            torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        )


@pytest.mark.parametrize('with_head', [True, False])
@pytest.mark.parametrize('target', ['mmpretrain', 'timm'])
@pytest.mark.parametrize('name', PAIRS)
@pytest.mark.sweep(every=5)
def test_strictly_there(
    name: str, target: str, with_head: bool, tmp_path: Path
) -> None:
    make_timm, make_ours, head = PAIRS[name]
    theirs = randomise(make_timm(num_classes=7 if with_head else 0))
    our = randomise(make_ours(head if with_head else None))
    source, built = (theirs, our) if target == 'mmpretrain' else (our, theirs)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    state, *_ = convert_checkpoint(str(tmp_path / 'a.pth'), target)
    built.load_state_dict(state, strict=True)
    if with_head:
        torch.testing.assert_close(logits(built), logits(source), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('target', ['mmpretrain', 'timm'])
@pytest.mark.parametrize('name', PAIRS)
@pytest.mark.sweep(every=3)
def test_again(name: str, target: str, tmp_path: Path) -> None:
    """A file in the names that are asked for stays as it is."""
    make_timm, make_ours, head = PAIRS[name]
    source = make_timm(num_classes=7) if target == 'timm' else make_ours(head)
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    state, *_ = convert_checkpoint(str(tmp_path / 'a.pth'), target)
    assert state.keys() == source.state_dict().keys()


# mmseg's backbones; it has no other ConvNeXt and XCiT than mmpretrain's.
MMSEG_VIT = dict(
    type='VisionTransformer', img_size=32, patch_size=16, embed_dims=24, num_layers=2,
    num_heads=2, final_norm=True,
)  # fmt: skip
SWIN = dict(
    type='SwinTransformer', patch_size=2, window_size=2, embed_dims=8, depths=DEPTHS,
    num_heads=HEADS, strides=(2, 2, 2, 2), out_indices=(3,),
)  # fmt: skip
TWO_STAGES = dict(depths=[1, 2], num_heads=[1, 2], strides=(2, 2), out_indices=(1,))
CONVNEXT = dict(type='mmpretrain.ConvNeXt', arch=dict(depths=DEPTHS, channels=WIDTHS))
IN_MMSEG: dict[str, dict] = {
    'ViT': MMSEG_VIT,
    'ViT, averaged': dict(MMSEG_VIT, final_norm=False),
    'ViT with pre-norm': dict(MMSEG_VIT, pre_norm=True),
    'LayerScale': MMSEG_VIT,
    'BEiT': dict(
        type='BEiT', img_size=32, embed_dims=24, num_layers=2, num_heads=2,
        init_values=0.1,
    ),
    'Swin': SWIN,
    'Swin of two stages': dict(SWIN, **TWO_STAGES),
    'ConvNeXt': CONVNEXT,
    'ConvNeXt V2': dict(CONVNEXT, use_grn=True, layer_scale_init_value=0.0),
    'XCiT': dict(
        type='mmpretrain.XCiT', embed_dims=24, depth=2, num_heads=2, cls_attn_layers=1
    ),
    'ResNet-18': dict(type='ResNet', depth=18),
    'ResNet-50': dict(type='ResNet', depth=50),
    'ResNet-50c': dict(type='ResNetV1c', depth=50),
    'ResNet-50d': dict(type='ResNetV1d', depth=50),
    'ResNeXt-50': dict(type='ResNeXt', depth=50, groups=32, base_width=4),
}  # fmt: skip


@pytest.mark.parametrize('name', PAIRS)
def test_backbone_for_mmseg(name: str, tmp_path: Path) -> None:
    torch.save(PAIRS[name][0](num_classes=7).state_dict(), tmp_path / 'a.pth')
    if name == 'DeiT':
        with pytest.raises(ValueError, match=r'backbone\.dist_token.* Nothing was'):
            convert_checkpoint(str(tmp_path / 'a.pth'), 'mmseg')
        return
    state, *_ = convert_checkpoint(str(tmp_path / 'a.pth'), 'mmseg')
    init_default_scope('mmseg')
    model = nn.ModuleDict(dict(backbone=SEGMENTORS.build(IN_MMSEG[name])))
    model.load_state_dict(state, strict=True)


VIT_HEAD = 'VisionTransformer'
REFUSED = {
    'hidden layer of a head': (
        lambda: ours(OUR_VIT, head(24, VIT_HEAD, hidden_dim=8)),
        'timm',
        r'no place for head\.layers\.pre_logits',
    ),
    'norms of queries': (
        lambda: VisionTransformer(**VIT, num_classes=7, qk_norm=True),
        'mmpretrain',
        r'no place for backbone\.layers\.0\.attn\.k_norm',
    ),
    'attention pooling': (
        lambda: VisionTransformer(**VIT, num_classes=7, global_pool='map'),
        'mmpretrain',
        r'no place for backbone\.attn_pool',
    ),
    'EVA-02': (
        lambda: Eva(**VIT, num_classes=7, swiglu_mlp=True, scale_mlp=True),
        'mmpretrain',
        r'no place for backbone\.layers\.0\.mlp',
    ),
    'head of ConvNeXt with a layer': (
        lambda: ConvNeXt(depths=DEPTHS, dims=WIDTHS, num_classes=7, head_hidden_size=8),
        'mmpretrain',
        r'no place for .*head\.pre_logits',
    ),
    'squeeze and excitation': (
        lambda: timm.create_model('seresnet50', num_classes=7),
        'mmpretrain',
        r'no place for backbone\.layer1\.0\.se',
    ),
    'another depth': (
        lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7),
        'mmpretrain',
        r'mmpretrain has no ResNet of the variant in ',
    ),
    'another width': (
        lambda: ResNet(BasicBlock, [2, 2, 2, 2], channels=WIDTHS, num_classes=7),
        'mmseg',
        r'mmseg has no ResNet of the variant in ',
    ),
    'MiT': (
        lambda: SEGMENTORS.build(dict(type='MixVisionTransformer', embed_dims=8)),
        'timm',
        r'timm has no MiT that',
    ),
    'PiT': (
        lambda: timm.create_model('pit_ti_224'),
        'mmpretrain',
        r'unknown format; it contains cls_token',
    ),
}


@pytest.mark.parametrize('what', REFUSED)
def test_what_has_no_place_is_named(what: str, tmp_path: Path) -> None:
    build, target, message = REFUSED[what]
    init_default_scope('mmseg')
    torch.save(build().state_dict(), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=message) as raised:
        convert_checkpoint(str(tmp_path / 'a.pth'), target)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('kind', ['EVA', 'EVA-02', 'EVA-02, small', 'DINOv3'])
def test_eva_to_timm(kind: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        'EVA': {},
        'EVA-02': dict(
            qkv_fused=False, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True
        ),
        'EVA-02, small': dict(swiglu_mlp=True),
        'DINOv3': dict(
            num_reg_tokens=4, use_abs_pos_emb=False, init_values=1.0, qkv_bias=False
        ),
    }[kind]
    model = Eva(**VIT, num_classes=7, **settings)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    state, *_ = convert_checkpoint(str(tmp_path / 'a.pth'), 'timm')
    assert state.keys() == model.state_dict().keys()


def test_positions_of_patches_alone_stay(tmp_path: Path) -> None:
    """DeiT III's class token has no position, in timm neither."""
    model = VisionTransformer(**VIT, num_classes=7, no_embed_class=True)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    state, *_ = convert_checkpoint(str(tmp_path / 'a.pth'), 'timm')
    model.load_state_dict(state, strict=True)
    state, *_ = convert_checkpoint(str(tmp_path / 'a.pth'), 'mmpretrain')
    assert state['backbone.pos_embed'].shape[1] == 2 * 2 + 1
