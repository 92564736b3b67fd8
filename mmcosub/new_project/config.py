"""The text of a first config, on top of an upstream one with pretrained weights."""

import os
import pprint
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from mmcosub.config.flags import set_length
from mmcosub.config.loading import find_config, read_config

from .classes import Classes
from .models import MODELS, WEIGHTS

ITERATIONS = 20000
_CROP = 512
_BATCH = 4

_TEXT = Template("""\
# Written by `mmcosub init`: $about
_base_ = ['mmseg::$base']

classes = $classes
palette = $palette
crop = ($crop, $crop)
scale = (4 * $crop, $crop)  # longest side, shorter side
dataset = dict(
    type='BaseSegDataset',
    data_prefix=dict(
        img_path=$images,
        seg_map_path=$masks,
    ),
    img_suffix=$img_suffix,
    seg_map_suffix=$seg_map_suffix,
    metainfo=dict(classes=classes, palette=palette),
)
load = dict(type='LoadImageFromFile'$color_type)
train_pipeline = [
    load,
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    load,
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=$batch,
    num_workers=$train_workers,
    dataset=dict(
        _delete_=True,
        **dataset,
        ann_file=$train_list,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=$val_workers,
    dataset=dict(
        _delete_=True,
        **dataset,
        ann_file=$val_list,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmcosub.ProbabilityMetric'),
]
test_evaluator = val_evaluator
model = $model
# `mmcosub train --max-iters N` scales these together.
train_cfg = dict(max_iters=$iterations, val_interval=$interval)
param_scheduler = $schedules
default_hooks = dict(
    checkpoint=dict(interval=$interval, max_keep_ckpts=2, save_best='mIoU')
)
randomness = dict(seed=0)
""")


def write_config(
    path: Path,
    name: str,
    classes: Classes,
    short_side: int,
    pretrained: bool,
    data: Mapping[str, Any],
) -> str | None:
    """Write the config; return the pretrained weights that it starts from, if any.

    ``data`` has ``about`` and ``count`` of the training images; ``images``, ``masks``,
    ``img_suffix``, ``seg_map_suffix``, ``train_list``, ``val_list``; and ``as_stored``,
    to ignore the EXIF orientation.
    """
    base = read_config(find_config(f'mmseg::{MODELS[name]}'))
    crop = crop_size(short_side)
    weights = None
    if pretrained:
        init = base.model.backbone.get('init_cfg') or {}
        weights = WEIGHTS.get(name) or init.get('checkpoint') or base.model.pretrained
    set_length(base, 'max_iters', ITERATIONS)
    bound = getattr(os, 'sched_getaffinity', None)  # of Linux alone
    cpus = len(bound(0)) if bound else os.cpu_count() or 1
    plain = ('about', 'count', 'as_stored')
    text = _TEXT.substitute(
        {key: repr(value) for key, value in data.items() if key not in plain},
        about=data['about'],
        base=MODELS[name],
        classes=pprint.pformat(tuple(classes.names), width=80, compact=True),
        palette=pprint.pformat(classes.palette, width=80, compact=True),
        crop=crop,
        color_type=", color_type='color_ignore_orientation'" * data['as_stored'],
        batch=min(_BATCH, data['count']),
        train_workers=min(4, cpus),
        val_workers=max(1, min(4, cpus // 2)),
        model=_model(base.model, name, len(classes.names), crop, weights),
        iterations=ITERATIONS,
        interval=base.train_cfg.val_interval,
        schedules=_schedules(base.param_scheduler),
    )
    path.write_text(text, encoding='utf-8')
    return weights


def crop_size(short_side: int) -> int:
    """Return the side of the crops: 512, or less for smaller images, in steps of 32."""
    return min(_CROP, max(32, short_side // 32 * 32))


def _model(model: Any, name: str, classes: int, crop: int, weights: str | None) -> str:
    """Return the model's settings, as text."""
    lines = ['    data_preprocessor=dict(size=crop),']
    backbone = [] if 'img_size' not in model.backbone else ['img_size=crop']
    if weights is None:
        backbone.append('init_cfg=None')
    elif name in WEIGHTS:
        backbone.append(f"init_cfg=dict(type='Pretrained', checkpoint={weights!r})")
    if weights is None or name in WEIGHTS:
        lines.append('    pretrained=None,')
    if backbone:
        lines += ['    backbone=dict(', *(f'        {b},' for b in backbone), '    ),']
    for head in ('decode_head', 'auxiliary_head'):
        if model.get(head):
            lines.append(f'    {head}=dict(num_classes={classes}),')
    if model.test_cfg.mode == 'slide':
        step = crop * 2 // 3
        lines.append(f'    test_cfg=dict(crop_size=crop, stride=({step}, {step})),')
    return '\n'.join(['dict(', *lines, ')'])


def _schedules(schedules: Any) -> str:
    rows = [
        f'    dict({", ".join(f"{key}={value!r}" for key, value in each.items())}),'
        for each in schedules
    ]
    return '\n'.join(['[', *rows, ']'])
