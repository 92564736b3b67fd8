"""The text of a first config, on top of an upstream one with pretrained weights."""

import os
import pprint
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

from mmcosub.config.flags import set_length
from mmcosub.config.loading import find_config, read_config

from . import MODELS, WEIGHTS
from .loading import Loading

ITERATIONS = 20000
_CROP = 512

_TEXT = Template("""\
# Written by `mmcosub init`: $about.
_base_ = ['mmseg::$base']

classes = $classes
palette = $palette
crop = ($crop, $crop)
scale = (4 * crop[0], crop[0])  # longest side, shorter side
load = [$load]
label, pack = dict(type='LoadAnnotations'), dict(type='PackSegInputs')
resize = dict(type='Resize', scale=scale, keep_ratio=True)
test_pipeline = [*load, resize, label, pack]
train_pipeline = [
    *load,
    label,
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),$distortion
    pack,
]
versions = [  # of `mmcosub test --tta`
    [dict(resize, scale=(r * scale[0] // 4, r * scale[1] // 4)) for r in (3, 4, 5)],
    [dict(type='RandomFlip', prob=p) for p in (0.0, 1.0)],
    [label],
    [pack],
]
tta_pipeline = [*load, dict(type='TestTimeAug', transforms=versions)]
dataset = dict(
    type='BaseSegDataset',
    data_root=$root,
    data_prefix=dict(img_path=$images, seg_map_path=$masks),
    img_suffix=$img_suffix,
    seg_map_suffix=$seg_map_suffix,
    metainfo=dict(classes=classes, palette=palette),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=$workers,
    dataset=dict(dataset, ann_file='train.txt', pipeline=train_pipeline),
)
val_dataloader = test_dataloader = dict(
    num_workers=$workers,
    dataset=dict(dataset, ann_file='val.txt', pipeline=test_pipeline),
)
val_evaluator = test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmcosub.ProbabilityMetric'),
]
model = dict(
$model
)
# `mmcosub train --max-iters N` scales these together.
train_cfg = dict(max_iters=$iterations, val_interval=$interval)
param_scheduler = [
$schedules
]
default_hooks = dict(
    checkpoint=dict(interval=$interval, max_keep_ckpts=2, save_best='mIoU')
)
randomness = dict(seed=0)
""")


def write_config(
    path: Path,
    name: str,
    pretrained: bool,
    about: str,
    crop: int,
    loading: Loading,
    settings: Mapping[str, object],
) -> str | None:
    """Write the config; return the pretrained weights that it starts from, if any.

    ``settings`` fill in what is left of the template.
    """
    base = read_config(find_config(f'mmseg::{MODELS[name]}'))
    weights = None
    if pretrained:
        init = base.model.backbone.get('init_cfg') or {}
        weights = WEIGHTS.get(name) or init.get('checkpoint') or base.model.pretrained
    set_length(base, 'max_iters', ITERATIONS)
    filled = _TEXT.substitute(
        {k: pprint.pformat(v, width=200, compact=True) for k, v in settings.items()},
        base=MODELS[name],
        about=about,
        crop=crop,
        load=', '.join(_dict(**step) for step in loading.steps),
        distortion="\n    dict(type='PhotoMetricDistortion')," * loading.eight_bits,
        workers=min(4, os.cpu_count() or 1),
        model='\n'.join(_model(base.model, weights, loading)),
        iterations=ITERATIONS,
        interval=base.train_cfg.val_interval,
        schedules='\n'.join(f'    {_dict(**each)},' for each in base.param_scheduler),
    )
    path.write_text(filled, encoding='utf-8')
    return weights


def crop_size(sizes: Iterable[tuple[int, int]]) -> int:
    """Return the side of the crops: 512, or less for smaller images, in steps of 32."""
    short_side = int(median(map(min, sizes)))
    return min(_CROP, max(32, short_side // 32 * 32))


def _model(model: Any, weights: str | None, loading: Loading) -> Iterator[str]:
    """Yield the lines of the model's settings."""
    init = weights and _dict(type='Pretrained', checkpoint=weights)
    size = 'img_size=crop, ' if 'img_size' in model.backbone else ''
    size += f'in_channels={loading.channels}, ' * (loading.channels != 3)
    # Images narrower than the stride of the network are padded in testing.
    padding = 'size=crop, test_cfg=dict(size_divisor=32)'
    padding += ', mean=None, std=None' * (not loading.eight_bits)
    yield f'    data_preprocessor=dict({padding}),'
    yield '    pretrained=None,'
    yield f'    backbone=dict({size}init_cfg={init}),'
    for head in ('decode_head', 'auxiliary_head'):
        if model.get(head):
            yield f'    {head}=dict(num_classes=len(classes)),'
    if model.test_cfg.mode == 'slide':
        yield '    test_cfg=dict(crop_size=crop, stride=(2 * crop[0] // 3,) * 2),'


def _dict(**items: object) -> str:
    return f'dict({", ".join(f"{key}={value!r}" for key, value in items.items())})'
