"""Upstream models with their weights, for prediction."""

import copy
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from torch import nn

from mmcosub.checkpoints import load_for_prediction, read_checkpoint
from mmcosub.config.model_settings import last_head, model_settings
from mmcosub.datasets.image_files import viewable
from mmcosub.names import type_name
from mmcosub.registry import MODELS

from .data import configs_of_datasets


def load_model(
    cfg: Config, checkpoint: str | None = None, device: str | None = None
) -> nn.Module:
    """Build a config's upstream model with a checkpoint's weights, to predict.

    Like ``mmseg.apis.init_model`` and ``mmpretrain.get_model``, whose functions for
    single images accept the model. Differences: it downloads no weights that the
    checkpoint replaces, raises for a checkpoint that does not fit, and executes no code
    in it unless ``cfg.trust_checkpoint`` is set.

    Args:
        cfg (Config): Config of a segmentor or classifier.
        checkpoint (str, optional): A file or URL. Defaults to None: random weights.
        device (str, optional): Device of the model. Defaults to None: the GPU if there
            is one.

    Returns:
        nn.Module: The model, with ``cfg`` and ``dataset_meta`` (names and, for
        segmentors, colours of the classes).

    Raises:
        ValueError: If there is no such device, or the checkpoint cannot be read or does
            not fit.
    """
    device = device_of(device)
    cfg = copy.deepcopy(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    model = stock_model(cfg).to(device)
    if cfg.get('test_dataloader'):  # read by mmseg's and mmpretrain's functions
        cfg.test_pipeline = steps_of_pipeline(cfg)
    model.cfg = model._config = cfg
    model.dataset_meta = model._dataset_meta = _dataset_meta(cfg)
    if checkpoint is not None:
        read = read_checkpoint(checkpoint, trust=bool(cfg.get('trust_checkpoint')))
        load_for_prediction(model, read, checkpoint)
        meta = read.get('meta')
        kept = meta.get('dataset_meta') if isinstance(meta, dict) else None
        model.dataset_meta.update(kept or {})
    return model


def stock_model(cfg: Config) -> Any:
    """Build a config's upstream model, in its default scope, with random weights."""
    return revert_sync_batchnorm(MODELS.build(model_settings(cfg))).eval()


def device_of(name: str | None) -> str:
    """Return the named device, if there is one; by default the GPU or else the CPU."""
    device = name or get_device()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f'There is no device {device!r} here: {said}') from error
    return device


def _dataset_meta(cfg: Config) -> dict[str, Any]:
    """Return names and colours of the classes, as far as known."""
    loader = cfg.get('test_dataloader') or cfg.get('train_dataloader') or {}
    dataset = loader.get('dataset') or {}
    stock = getattr(_class_of(dataset), 'METAINFO', {})
    meta = {**stock, **(dataset.get('metainfo') or {})}
    if cfg.model.get('decode_head') and not meta.get('palette'):
        # Drawing needs both. MMSegmentation uses random colours, too.
        count = last_head(cfg)['num_classes']
        meta.setdefault('classes', [str(i) for i in range(count)])
        colours = np.random.default_rng(42).integers(256, size=(count, 3))
        meta['palette'] = colours.tolist()
    return meta


def steps_of_pipeline(cfg: Config) -> list[dict]:
    """Return the pipeline of ``test_dataloader``, of the first of several datasets."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or ConfigDict()
    return next(configs_of_datasets(dataset), ConfigDict()).get('pipeline') or []


def image_suffixes(cfg: Config) -> set[str]:
    """Return suffixes of images that the datasets for testing name, in lower case."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or ConfigDict()
    given = (each.get('img_suffix') for each in configs_of_datasets(dataset))
    return {each.lower() for each in given if isinstance(each, str)}


def _reduces_zero_label(cfg: Config) -> bool:
    """Return True if label files of the test data have 0 for "no class"."""
    dataset = next(configs_of_datasets(cfg.test_dataloader.dataset))
    if 'reduce_zero_label' in dataset:
        return bool(dataset['reduce_zero_label'])
    for base in getattr(_class_of(dataset), '__mro__', ()):
        if found := signature(base).parameters.get('reduce_zero_label'):
            return bool(found.default)
    return False


def _class_of(dataset: dict) -> Any:
    kind = dataset.get('type')
    return DATASETS.get(kind) if isinstance(kind, str) else kind


def loaded_image(transforms: Sequence[Any], info: dict) -> np.ndarray:
    """Load an image of shape (H, W, channels) by a pipeline's first steps alone."""
    sample = {**info}
    for transform in transforms:
        sample = transform(sample)
        if 'img' in sample:
            return sample['img']
    raise ValueError('No transform of the pipeline of test_dataloader loads an image.')


def read_image(model: Any, path: str) -> tuple[np.ndarray, dict]:
    """Read an image and transform it as ``test_dataloader`` does.

    Args:
        model (nn.Module): Model of :func:`load_model`.
        path (str): The file.

    Returns:
        tuple: The image for display in BGR, of shape (H, W, 3), and a batch of the
        image alone.

    Raises:
        ValueError: If there is no such file or it cannot be read.
    """
    if not Path(path).is_file():
        raise ValueError(f'There is no image {path}.')
    if not model.cfg.get('test_dataloader'):
        raise ValueError('The config has no test_dataloader to read images by.')
    steps = steps_of_pipeline(model.cfg)
    pipeline = Compose(
        [s for s in steps if 'Annotation' not in type_name(s, TRANSFORMS)]
    )
    zero = _reduces_zero_label(model.cfg)
    info = dict(img_path=path, seg_fields=[], reduce_zero_label=zero)
    try:
        image = loaded_image(pipeline.transforms, info)
        batch = pseudo_collate([pipeline(info)])
    except Exception as error:  # a loader can raise anything
        raise ValueError(
            f'{path} cannot be read and transformed by the pipeline of test_dataloader '
            f'({type(error).__name__}: {error}).'
        ) from error
    return viewable(image), batch


def odd_spread(preprocess: Any, batch: dict, steps: Sequence[Any] = ()) -> str:
    """Name a batch's mean and deviation within channels, if far from 0 and 1, else ''.

    Also '' if images are normalised neither by the data preprocessor nor by a step of
    their pipeline.
    """
    in_pipeline = any(type_name(step, TRANSFORMS) == 'Normalize' for step in steps)
    if not (in_pipeline or getattr(preprocess, '_enable_normalize', False)):
        return ''
    images = preprocess(batch, False)['inputs']
    if not isinstance(images, torch.Tensor):
        return ''
    channels = images.transpose(0, 1).flatten(1)
    mean, std = float(channels.mean()), float(channels.std(dim=1).mean())
    usual = abs(mean) < 10 and 0.1 < std < 10
    return '' if usual else f'mean {mean:.3g} and deviation {std:.3g}'
