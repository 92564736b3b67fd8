"""The small networks of the study's scenes, and the models around them."""

from typing import Any

import torch
from channel_dropout import ChannelDropout
from choices import COSUB
from settings import SceneRun
from torch import nn

CLASSES = 11
STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def widths(run: SceneRun) -> list[int]:
    """Channels of the feature maps of a run's backbone.

    Args:
        run (SceneRun): The run.
    """
    one = {'swin': [24, 48, 96], 'vit': [96] * 3}[run.network]
    return [run.scale * channels for channels in one]


def backbone(run: SceneRun, rate: float, segments: bool) -> dict:
    """Config of a small backbone.

    Args:
        run (SceneRun): The run that it is for.
        rate (float): Drop-path rate; rises to it linearly over the Swin.
        segments (bool): Whether it puts out feature maps, else one vector.
    """
    if run.network == 'swin':
        heads = [run.scale, 2 * run.scale, 4 * run.scale]
        return dict(
            type='mmpretrain.SwinTransformer',
            arch=dict(embed_dims=24 * run.scale, depths=[2, 2, 4], num_heads=heads),
            img_size=run.size,
            window_size=4,
            drop_path_rate=rate,
            pad_small_map=True,
            out_indices=(0, 1, 2) if segments else (2,),
        )
    return dict(
        type='mmpretrain.VisionTransformer',
        arch=dict(
            embed_dims=96 * run.scale,
            num_layers=6,
            num_heads=3 * run.scale,
            feedforward_channels=192 * run.scale,
        ),
        img_size=run.size,
        patch_size=8,
        layer_cfgs=dict(drop_path_rate=rate),
        final_norm=not segments,
        out_type='featmap' if segments else 'avg_featmap',
        out_indices=(1, 3, 5) if segments else -1,
    )


def classifier(run: SceneRun) -> nn.Module:
    """A classifier to pretrain a backbone in, stock or trained by cosub.

    Args:
        run (SceneRun): The run that the backbone is for.
    """
    from mmpretrain.registry import MODELS

    model = dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=10, to_rgb=True, **STATISTICS),
        backbone=backbone(run, run.pretrain_rate, segments=False),
        neck=dict(type='GlobalAveragePooling') if run.network == 'swin' else None,
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=widths(run)[-1],
            loss=dict(type='CrossEntropyLoss'),
        ),
    )
    if run.pretrained == 'cosub':
        scheme = dict(loss='ce', seed=run.seed, **COSUB)
        model.update(type='mmcosub.CoTrainingImageClassifier', scheme=scheme)
    return _built(MODELS, model, run.seed)


def segmentor(run: SceneRun) -> nn.Module:
    """The UperNet of a run: a stock one, or the same trained by a scheme.

    Args:
        run (SceneRun): The run.
    """
    from mmseg.registry import MODELS

    channels = widths(run)
    common = dict(
        num_classes=CLASSES,
        norm_cfg=dict(type='BN'),
        dropout_ratio=0.1,
        align_corners=False,
    )
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            bgr_to_rgb=True,
            size=(run.size, run.size),
            pad_val=0,
            seg_pad_val=255,
            **STATISTICS,
        ),
        backbone=backbone(run, run.rate, segments=True),
        decode_head=dict(
            type='UPerHead',
            in_channels=channels,
            in_index=[0, 1, 2],
            pool_scales=(1, 2, 3, 6),
            channels=48 * run.scale,
            loss_decode=dict(type='CrossEntropyLoss'),
            **common,
        ),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=channels[1],
            in_index=1,
            channels=24 * run.scale,
            num_convs=1,
            concat_input=False,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
            **common,
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    if run.network == 'vit':
        model['neck'] = dict(
            type='MultiLevelNeck',
            in_channels=channels,
            out_channels=channels[0],
            scales=[2, 1, 0.5],
        )
    if run.scheme:
        scheme = dict(loss='ce', seed=run.seed, **run.scheme)
        model.update(type='mmcosub.CoTrainingEncoderDecoder', scheme=scheme)
    unlabelled = dict(getattr(run, 'unlabelled', {}))
    drops_channels = unlabelled.get('students') == 'channels'
    if drops_channels:
        unlabelled['students'] = 'full'
    if unlabelled:
        model['unlabelled'] = unlabelled
    built: Any = _built(MODELS, model, run.seed)
    if drops_channels:
        built.unlabelled = ChannelDropout(built.unlabelled, run.seed)
    return built


def _built(registry: Any, config: dict, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = registry.build(config)
    model.init_weights()
    return model
