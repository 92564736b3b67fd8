"""Whole stock configs to run, and clearing up after runs."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import ManagerMixin
from tiny import segmentor_config

from mmcosub.engine import CoTrainingRunner, apply_scheme

CLASSES = ('one', 'two', 'three', 'four', 'five')
PALETTE = [[60 * i, 255 - 60 * i, 40 * i] for i in range(5)]


def segmentation_config(root: Path) -> dict:
    """A whole stock config: four iterations of a tiny UperNet."""
    labels = dict(type='LoadAnnotations')
    load, pack = dict(type='LoadImageFromFile'), dict(type='PackSegInputs')
    crop = dict(type='RandomCrop', crop_size=(32, 32))
    scales = [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0)]
    flips = [
        dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)
    ]
    augment = dict(type='TestTimeAug', transforms=[scales, flips, [labels], [pack]])

    def loader(split: str, batch: int, sampler: dict, pipeline: list) -> dict:
        dataset = dict(
            type='BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(
                img_path=f'images/{split}', seg_map_path=f'annotations/{split}'
            ),
            img_suffix='.jpg',
            reduce_zero_label=True,
            metainfo=dict(classes=CLASSES, palette=PALETTE),
            pipeline=pipeline,
        )
        return dict(batch_size=batch, num_workers=0, sampler=sampler, dataset=dataset)

    test = loader(
        'validation',
        1,
        dict(type='DefaultSampler', shuffle=False),
        [load, labels, pack],
    )
    return dict(
        default_scope='mmseg',
        model=segmentor_config(),
        train_dataloader=loader(
            'training',
            2,
            dict(type='InfiniteSampler', shuffle=True),
            [load, labels, crop, pack],
        ),
        val_dataloader=test,
        test_dataloader=test,
        tta_pipeline=[load, augment],
        tta_model=dict(type='SegTTAModel'),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=[
            dict(type='PolyLR', power=1.0, begin=0, end=8, by_epoch=False)
        ],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
        ),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=0),
    )


def write_config(path: Path, cfg: dict) -> Path:
    """Write a config file."""
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in cfg.items()))
    return path


def forget_runners() -> None:
    """Close and forget what MMEngine keeps of runners, by name and for ever."""
    classes = [ManagerMixin]
    for cls in classes:
        classes += cls.__subclasses__()
        instances = getattr(cls, '_instance_dict', {})
        for logger in instances.values():
            for handler in getattr(logger, 'handlers', ()):
                handler.close()
        instances.clear()


def runner_of(path: Path, co_train: bool = True, **changes: Any) -> CoTrainingRunner:
    """A runner of a config with some changes."""
    forget_runners()
    cfg = Config.fromfile(path)
    if co_train:
        apply_scheme(cfg, 'cosub')
    cfg.merge_from_dict(changes)
    return CoTrainingRunner.from_cfg(cfg)
