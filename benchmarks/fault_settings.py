"""Tiny runs to inject faults into, on data that are made here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CLASSES = ('one', 'two', 'three', 'four', 'five')
_SWIN = dict(
    type='mmpretrain.SwinTransformer',
    arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
    img_size=32,
    window_size=4,
    pad_small_map=True,
    drop_rate=0.1,
    drop_path_rate=0.4,
)


@dataclass
class Setting:
    """A way to train.

    Args:
        argv (list[str]): Arguments of tools/train.py besides the config.
        options (dict): Changes to the config.
        ranks (int): Number of processes. Defaults to 1.
        classify (bool): Whether a classifier trains by epochs, rather than a segmentor
            by iterations. Defaults to False.
    """

    argv: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    ranks: int = 1
    classify: bool = False


_WORKERS = {
    'train_dataloader.num_workers': 2,
    'train_dataloader.persistent_workers': True,
}
_COSUB = ['--co-train', 'cosub']
SETTINGS: dict[str, Setting] = {
    'stock drop path': Setting(),
    'cosub': Setting(_COSUB),
    'workers': Setting(_COSUB, _WORKERS),
    'one kept': Setting(_COSUB, {'default_hooks.checkpoint.max_keep_ckpts': 1}),
    'accumulation': Setting(_COSUB, {'optim_wrapper.accumulative_counts': 4}),
    'EMA, best kept': Setting(
        _COSUB,
        {
            'custom_hooks': [dict(type='EMAHook', momentum=0.1)],
            'default_hooks.checkpoint.save_best': 'mIoU',
        },
    ),
    'AMP, lean': Setting(
        ['--co-train', 'augpath', '--amp'], {'scheme.lean': True, **_WORKERS}
    ),
    'two ranks': Setting(
        _COSUB, {**_WORKERS, 'optim_wrapper.accumulative_counts': 2}, ranks=2
    ),
    'classifier by epochs': Setting(_COSUB, _WORKERS, classify=True),
}


def make_scenes(root: Path) -> Path:
    """Twelve images with label maps, laid out as ADE20K is; the labels are 1 to 5.

    Args:
        root (Path): Folder to make.
    """
    rng = np.random.default_rng(0)
    for split, count in (('training', 8), ('validation', 4)):
        for i in range(count):
            label = rng.integers(1, 6, (5, 6)).repeat(8, 0).repeat(8, 1)
            image = label[..., None] * 40 + rng.integers(0, 20, (*label.shape, 3))
            write(root / 'images' / split / f'{i}.jpg', image)
            write(root / 'annotations' / split / f'{i}.png', label)
    return root


def make_classes(root: Path) -> Path:
    """Folders of images of two classes, for training and validation.

    Args:
        root (Path): Folder to make.
    """
    rng = np.random.default_rng(0)
    for split, count in (('train', 7), ('val', 4)):
        for i in range(count):
            image = rng.integers(0, 255, (40, 40, 3)) // (1 + i % 2)
            write(root / split / 'ab'[i % 2] / f'{i}.png', image)
    return root


def write(path: Path, image: np.ndarray) -> None:
    """Write an image of 8 bits.

    Args:
        path (Path): The file; its folder is made.
        image (ndarray): Of shape (height, width) or (height, width, 3).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image.astype(np.uint8)):
        raise OSError(f'{path} cannot be written.')


def segmentation(data: Path, iterations: int) -> dict:
    """A stock segmentation config with augmentation and dropout.

    Args:
        data (Path): Of :func:`make_scenes`.
        iterations (int): Length of the training.
    """
    load, labels = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    pack = dict(type='PackSegInputs')
    augment = [
        dict(type='RandomResize', scale=(48, 40), ratio_range=(0.8, 1.5)),
        dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.9),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
    ]
    head = dict(num_classes=5, norm_cfg=dict(type='BN'), dropout_ratio=0.1)
    test = _scenes(data, 'validation', [load, labels, pack], 1, False)
    evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    return dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor', size=(32, 32), pad_val=0, seg_pad_val=255
            ),
            backbone=dict(_SWIN, out_indices=(0, 1)),
            decode_head=dict(
                type='UPerHead',
                in_channels=[8, 16],
                in_index=[0, 1],
                pool_scales=(1, 2),
                channels=8,
                loss_decode=dict(type='CrossEntropyLoss'),
                **head,
            ),
            auxiliary_head=dict(
                type='FCNHead',
                in_channels=16,
                in_index=1,
                channels=8,
                num_convs=1,
                concat_input=False,
                loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
                **head,
            ),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        ),
        train_dataloader=_scenes(
            data, 'training', [load, labels, *augment, pack], 2, True
        ),
        val_dataloader=test,
        test_dataloader=test,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=[
            dict(type='PolyLR', power=1.0, begin=0, end=iterations, by_epoch=False)
        ],
        train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations
        ),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
        ),
        log_processor=dict(by_epoch=False),
    )


def _scenes(data: Path, split: str, pipeline: list, batch: int, train: bool) -> dict:
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(data),
        data_prefix=dict(
            img_path=f'images/{split}', seg_map_path=f'annotations/{split}'
        ),
        img_suffix='.jpg',
        reduce_zero_label=True,
        metainfo=dict(classes=CLASSES),
        pipeline=pipeline,
    )
    kind = 'InfiniteSampler' if train else 'DefaultSampler'
    return dict(
        batch_size=batch,
        num_workers=0,
        sampler=dict(type=kind, shuffle=train),
        dataset=dataset,
    )


def classification(data: Path, epochs: int) -> dict:
    """A stock classification config with augmentation, dropout and mixing of images.

    Args:
        data (Path): Of :func:`make_classes`.
        epochs (int): Length of the training.
    """
    augment = [
        dict(type='RandomResizedCrop', scale=32),
        dict(type='RandomFlip', prob=0.5),
        dict(type='ColorJitter', brightness=0.3),
    ]
    mix = [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]

    def loader(split: str, pipeline: list, train: bool) -> dict:
        load, pack = dict(type='LoadImageFromFile'), dict(type='PackInputs')
        return dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=train),
            dataset=dict(
                type='CustomDataset',
                data_root=str(data / split),
                pipeline=[load, *pipeline, pack],
            ),
        )

    test = loader('val', [dict(type='Resize', scale=(32, 32))], False)
    return dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(mean=[0.0] * 3, std=[255.0] * 3, num_classes=2),
            backbone=dict(_SWIN, out_indices=(1,)),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead',
                num_classes=2,
                in_channels=16,
                loss=dict(type='CrossEntropyLoss', use_soft=True),
                topk=(1,),
                cal_acc=False,
            ),
            train_cfg=dict(augments=mix),
        ),
        train_dataloader=loader('train', augment, True),
        val_dataloader=test,
        test_dataloader=test,
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        test_evaluator=dict(type='Accuracy', topk=(1,)),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)],
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=epochs),
        val_cfg=dict(),
        test_cfg=dict(),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2),
        ),
    )


def write_config(path: Path, cfg: dict) -> Path:
    """Write a config file.

    Args:
        path (Path): The file.
        cfg (dict): Its settings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in cfg.items()))
    return path


def arguments(setting: Setting, root: Path, iterations: int = 12) -> list[str]:
    """Make the data and the config of a setting; arguments of tools/train.py.

    Args:
        setting (Setting): The setting.
        root (Path): Folder for both; one a setting.
        iterations (int): Length of the training; of a classifier, four a epoch.
            Defaults to 12.
    """
    if setting.classify:
        data = root / 'classes'
        cfg = classification(data, iterations // 4)
        make = make_classes
    else:
        data = root / 'scenes'
        cfg = segmentation(data, iterations)
        make = make_scenes
    if not data.is_dir():
        make(data)
    cfg.update(randomness=dict(seed=3), log_level='WARNING')
    later = []
    for key, value in setting.options.items():
        if key.startswith('scheme.'):  # of --co-train, not of the config
            later.append(f'{key}={value}')
            continue
        *parents, last = key.split('.')
        inner = cfg
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    name = 'classifier' if setting.classify else 'segmentor'
    path = write_config(root / 'configs' / f'{name}.py', cfg)
    return [str(path), *setting.argv, *(['--cfg-options', *later] if later else [])]


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Let this process write no file of more than some bytes, as on a full disk.

    Args:
        limit (int): The bytes.
    """
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
