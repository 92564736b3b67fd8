"""Tiny models and data for the tests."""

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

TAU = 0.4

BACKBONES: dict[str, dict] = {
    'mmpretrain ViT': dict(
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=8,
        out_type='featmap',
        out_indices=(0, 1, 3),
        layer_scale_init_value=0.1,
        drop_path_rate=TAU,
    ),
    'mmseg ViT': dict(
        type='mmseg.VisionTransformer',
        img_size=32,
        patch_size=8,
        embed_dims=16,
        num_layers=4,
        num_heads=2,
        out_indices=(0, 1, 3),
        drop_path_rate=TAU,
    ),
    'mmpretrain Swin': dict(
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
        img_size=32,
        window_size=4,
        out_indices=(0, 1),
        pad_small_map=True,
        drop_path_rate=TAU,
    ),
    'mmseg MiT': dict(
        type='mmseg.MixVisionTransformer',
        embed_dims=8,
        num_stages=2,
        num_layers=[2, 2],
        num_heads=[1, 2],
        patch_sizes=[7, 3],
        strides=[4, 2],
        sr_ratios=[2, 1],
        out_indices=(0, 1),
        drop_path_rate=TAU,
    ),
    'mmseg Swin': dict(
        type='mmseg.SwinTransformer',
        pretrain_img_size=32,
        embed_dims=8,
        depths=(2, 2),
        num_heads=(2, 4),
        strides=(4, 2),
        window_size=4,
        out_indices=(0, 1),
        drop_path_rate=TAU,
    ),
}


def backbone(name: str, seed: int = 0, **kwargs: object) -> nn.Module:
    """A tiny backbone in training mode whose every parameter matters."""
    init_default_scope('mmseg')
    torch.manual_seed(seed)
    model = MODELS.build({**BACKBONES[name], **kwargs})
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.train()
    return model


def segmentor_config(name: str = 'mmpretrain Swin', classes: int = 5) -> dict:
    """Config of a stock EncoderDecoder: UperNet over a tiny backbone."""
    vit = 'ViT' in name
    channels = [16, 16, 16] if vit else [8, 16]
    loss = dict(type='CrossEntropyLoss', use_sigmoid=False)
    head = dict(num_classes=classes, norm_cfg=dict(type='BN'), dropout_ratio=0.0)
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', size=(32, 32), pad_val=0, seg_pad_val=255
        ),
        backbone=dict(BACKBONES[name]),
        decode_head=dict(
            type='UPerHead',
            in_channels=channels,
            in_index=list(range(len(channels))),
            pool_scales=(1, 2),
            channels=8,
            loss_decode=loss,
            **head,
        ),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=channels[1],
            in_index=1,
            channels=8,
            num_convs=1,
            concat_input=False,
            loss_decode=dict(**loss, loss_weight=0.4),
            **head,
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


def one_channel(cfg: dict, threshold: float = 0.3) -> dict:
    """A config of :func:`segmentor_config` with two classes and one output channel."""
    of_heads = dict(num_classes=2, out_channels=1, threshold=threshold)
    for head in (cfg['decode_head'], cfg['auxiliary_head']):
        head.update(of_heads, loss_decode={**head['loss_decode'], 'use_sigmoid': True})
    return cfg


def labelled_images(
    batch: int = 2, classes: int = 5, size: tuple[int, int] = (32, 32), seed: int = 0
) -> tuple[Tensor, list[SegDataSample]]:
    """Random images and label maps, a few pixels of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, *size, generator=generator)
    labels = torch.randint(0, classes, (batch, 1, *size), generator=generator)
    labels[:, :, :3] = 255
    meta = dict(img_shape=size, ori_shape=size, pad_shape=size, padding_size=[0] * 4)
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=meta)
        for label in labels
    ]
    return images, samples
