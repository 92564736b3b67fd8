"""Checks of data and evaluation against the model before training starts."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.config import ConfigDict
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import DATASETS, METRICS, TRANSFORMS
from torch import nn

from mmcosub.config.unread import walk
from mmcosub.datasets.checks import (
    check_class_count,
    check_class_folders,
    check_class_names,
    check_places,
    check_segmentation_data,
)
from mmcosub.datasets.guard import BadSamples, guard
from mmcosub.losses import activations
from mmcosub.models.segmentor_heads import is_a
from mmcosub.names import type_name
from mmcosub.submodels import find_drop_paths

_DEFAULT = 255  # ignored label by default in MMCV and MMSegmentation
_PAD = ('RandomRotate', 'RandomMosaic')


def check_data(
    model: nn.Module, training: Any, validation: Any, evaluator: Any, bad: BadSamples
) -> None:
    """Raise if data do not fit the model; later errors name the file.

    In the config of a loader, the built dataset replaces its config. Data of models
    other than segmentors and classifiers are not checked.
    """
    check_rates(model)
    check_split(model, training, bad, trains=True)
    check_split(model, validation, evaluator=evaluator)
    both = [each for each in (training, validation) if isinstance(each, dict)]
    datasets = [each['dataset'] for each in both]
    if len(datasets) == 2 and not any(isinstance(each, dict) for each in datasets):
        check_class_names(*datasets)


def check_split(
    model: nn.Module,
    loader: Any,
    bad: BadSamples | None = None,
    trains: bool = False,
    evaluator: Any = None,
) -> None:
    """Check the data of one loader, as :func:`check_data` does, and its metrics.

    Evaluation (``trains=False``) needs labels only if the pipeline loads them.
    """
    scenes, to_classify = classes_of(model), _classes_of_classifier(model)
    if scenes:
        check_metrics(evaluator, scenes[1])
    if not isinstance(loader, dict) or not isinstance(loader['dataset'], dict):
        return
    config = loader['dataset']
    if scenes:
        _check_heads(model, *scenes)
        check_pad_values(getattr(model, 'data_preprocessor', None), config, *scenes)
        if is_main_process():
            check_segmentation_data(config, *scenes, bad=bad, trains=trains)
        loader['dataset'] = DATASETS.build(config)
    elif to_classify:
        check_places(config)
        loader['dataset'] = dataset = DATASETS.build(config)
        check_class_folders(dataset)
        check_class_count(dataset, to_classify, 'model.head.num_classes')
        losses = getattr(getattr(model, 'head', model), 'loss_module', ())
        check_one_output('model.head', to_classify, losses)
    if scenes or to_classify:
        # In place, before workers copy the dataset.
        classes, ignored = scenes or (None, _DEFAULT)
        guard(loader['dataset'], classes, ignored, bad)


def check_rates(model: nn.Module) -> None:
    """Raise a ``ValueError`` for a drop-path rate outside [0, 1)."""
    for site in find_drop_paths(model):
        if not 0 <= site.rate < 1:
            raise ValueError(
                f'{site.path} has the drop-path rate {site.rate:g}, which must be in '
                '[0, 1): lower model.backbone.drop_path_rate.'
            )


def classes_of(model: nn.Module) -> tuple[int, int] | None:
    """Return a segmentor's number of classes and ignored label; else None."""
    heads = [head for name, head in _heads(model) if name.startswith('decode_head')]
    if not heads or not hasattr(heads[-1], 'num_classes'):
        return None
    return heads[-1].num_classes, getattr(heads[-1], 'ignore_index', _DEFAULT)


def _check_heads(model: nn.Module, classes: int, ignored: int) -> None:
    """Raise if a segmentor's heads or class weights disagree on the classes."""
    for name, head in _heads(model):
        if is_a(head, 'STDCHead', 'SideAdapterCLIPHead'):
            continue  # its labels are boundaries, or also "no object"
        for key, last in (('num_classes', classes), ('ignore_index', ignored)):
            if (own := getattr(head, key, last)) != last:
                raise ValueError(
                    f'model.{name}.{key} is {own}, but that of the last decode head '
                    f'{last}. They see the same labels: set both to the same.'
                )
        losses = getattr(head, 'loss_decode', ())
        outputs = getattr(head, 'out_channels', classes)
        check_one_output(f'model.{name}', outputs, losses)
        for loss in losses if isinstance(losses, nn.ModuleList) else [losses]:
            weights: Any = getattr(loss, 'class_weight', None)
            listed = isinstance(weights, list | tuple)
            if listed and len(weights) not in (classes, outputs):
                raise ValueError(
                    f'model.{name}.loss_decode.class_weight has {len(weights)} '
                    f'weights, but there are {classes} classes. Give one for each.'
                )


def check_one_output(name: str, outputs: int | None, losses: Any) -> None:
    """Raise if a head has the softmax of a single output, which is always 1."""
    if outputs == 1 and 'softmax' in activations(losses):
        raise ValueError(
            f'{name} has one output under a softmax loss, which is 0 whatever the '
            'network predicts: nothing would be learned. Set num_classes=2 in every '
            'head, the data and data_preprocessor (background is a class); out_channels'
            '=1 of a segmentor needs loss_decode.use_sigmoid=True in every head.'
        )


def _heads(model: Any) -> Iterator[tuple[str, Any]]:
    for name in ('decode_head', 'auxiliary_head'):
        head = getattr(model, name, None)
        if isinstance(head, nn.ModuleList):
            yield from ((f'{name}.{i}', each) for i, each in enumerate(head))
        elif head is not None:
            yield name, head


def _classes_of_classifier(model: nn.Module) -> int | None:
    """Return a classifier's number of classes; else None."""
    parts = (getattr(model, 'head', None), getattr(model, 'model', None))
    counts = (getattr(part, 'num_classes', None) for part in parts)
    return next((count for count in counts if isinstance(count, int)), None)


def check_pad_values(
    preprocessor: Any, dataset: Any, num_classes: int, ignore_index: int
) -> None:
    """Raise if transforms pad label maps with what is neither class nor ignored.

    Padding with a class is reported, as the network learns it. So is an invalid value
    of the preprocessor, which pads smaller images only. ``dataset`` is a config.
    """
    pads = [(*pad, True) for pad in _pad_values(dataset)]
    if any(getattr(preprocessor, key, None) for key in ('size', 'size_divisor')):
        value = getattr(preprocessor, 'seg_pad_val', ignore_index)
        pads.append(('model.data_preprocessor.seg_pad_val', value, False))
    for where, value, always in pads:
        said = f'{where} is {value}, but the heads have ignore_index={ignore_index}'
        learned = 0 <= value < num_classes
        if value == ignore_index:
            continue
        if always and not learned:
            raise ValueError(f'{said}. Set both to the same.')
        effect = 'the loss fails at images that are padded'
        effect = f'padding is learned as class {value}' if learned else effect
        print_log(f'{said}: {effect}.', 'current', logging.WARNING)


def check_metrics(evaluator: Any, ignore_index: int) -> None:
    """Report metrics of an evaluator, or of its config, that ignore another label."""
    if isinstance(evaluator, Evaluator):
        metrics = evaluator.metrics
    else:
        metrics = [part for _, part in walk(evaluator) if type_name(part)]
    for metric in metrics:
        name, value = type(metric).__name__, getattr(metric, 'ignore_index', None)
        if isinstance(metric, dict):
            name = type_name(metric, METRICS)
            value = metric.get('ignore_index', {'IoUMetric': _DEFAULT}.get(name))
        if value not in (None, ignore_index):
            print_log(
                f'{name} has ignore_index={value}, but the heads ignore '
                f'{ignore_index}: the metric counts pixels that they do not learn, or '
                'the other way round. Set both to the same.',
                'current',
                logging.WARNING,
            )


def _pad_values(config: Any) -> Iterator[tuple[str, int]]:
    """Return names and label padding values of a config's transforms."""
    for _, part in walk(config):
        name = type_name(part, TRANSFORMS)
        if name in _PAD or (name and 'seg_pad_val' in part):
            yield f'{name}.seg_pad_val', part.get('seg_pad_val', _DEFAULT)
        elif name == 'Pad':
            value = part.get('pad_val')
            seg = value.get('seg', _DEFAULT) if isinstance(value, dict) else _DEFAULT
            yield "Pad.pad_val['seg']", seg


def configs_of_datasets(cfg: ConfigDict) -> Iterator[ConfigDict]:
    """Yield a dataset's config and those inside wrappers, if with a pipeline."""
    for _, part in walk(cfg):
        if isinstance(part, dict) and 'pipeline' in part:
            yield part
