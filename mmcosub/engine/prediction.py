"""A stock model with its weights, ready to predict."""

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain.apis import ImageClassificationInferencer
from mmpretrain.visualization import UniversalVisualizer
from mmseg.apis import inference_model
from mmseg.visualization import SegLocalVisualizer
from torch import nn

from mmcosub.checkpoints import load_for_prediction, read_checkpoint
from mmcosub.registry import MODELS

from .model_settings import model_settings


def load_model(
    cfg: Config, checkpoint: str | None = None, device: str | None = None
) -> nn.Module:
    """Build a config's stock model with the weights of a checkpoint, to predict.

    As ``mmseg.apis.init_model`` and ``mmpretrain.get_model`` do, whose functions for
    single images work on it; but nothing is fetched for the weights to replace, a
    checkpoint that does not fit is refused, and no code in it is run unless
    ``cfg.trust_checkpoint`` is set.

    Args:
        cfg (Config): Config of a segmentor or classifier.
        checkpoint (str, optional): A file or URL. Defaults to None, random weights.
        device (str, optional): Where the model goes. Defaults to None, the GPU if there
            is one.

    Returns:
        nn.Module: The model, with ``cfg`` and ``dataset_meta`` (names and, for
        segmentors, colours of the classes).

    Raises:
        ValueError: If the device is none, or the checkpoint cannot be read or does not
            fit.
    """
    device = device_of(device)
    cfg = copy.deepcopy(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    model = stock_model(cfg).to(device)
    if cfg.get('test_dataloader'):  # not every config names its pipeline
        cfg.setdefault('test_pipeline', cfg.test_dataloader.dataset.pipeline)
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
    """Build a config's stock model with random weights, for one process to predict.

    Args:
        cfg (Config): Config of a segmentor or classifier. The default scope has to be
            its own.
    """
    return revert_sync_batchnorm(MODELS.build(model_settings(cfg))).eval()


def device_of(name: str | None) -> str:
    """The device of a name; by default the GPU if there is one.

    Args:
        name (str, optional): Such as ``'cuda:0'``.

    Raises:
        ValueError: If there is no such device.
    """
    device = name or get_device()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f'There is no device {device!r} here: {said}') from error
    return device


def _dataset_meta(cfg: Config) -> dict[str, Any]:
    """Names and colours of the classes, as far as the config tells."""
    loader = cfg.get('test_dataloader') or cfg.get('train_dataloader') or {}
    dataset = loader.get('dataset') or {}
    kind = DATASETS.get(dataset['type']) if 'type' in dataset else None
    meta = {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
    heads = cfg.model.get('decode_head')
    if heads and not meta.get('palette'):
        # What draws needs both. MMSegmentation draws random colours, too.
        head = heads[-1] if isinstance(heads, list | tuple) else heads
        meta.setdefault('classes', [str(i) for i in range(head['num_classes'])])
        colours = np.random.default_rng(42).integers(256, size=(head['num_classes'], 3))
        meta['palette'] = colours.tolist()
    return meta


def read_image(path: str) -> np.ndarray:
    """Read an image.

    Args:
        path (str): The file.

    Returns:
        ndarray: In BGR, of shape (H, W, 3).

    Raises:
        ValueError: If there is no such file or it is no image.
    """
    if not Path(path).is_file():
        raise ValueError(f'There is no image {path}.')
    image = cv2.imread(path)
    if image is None:
        raise ValueError(f'{path} cannot be read as an image.')
    return image


def draw_prediction(
    model: Any, image: np.ndarray, out: Path, opacity: float = 0.5
) -> str:
    """Predict an image, draw the prediction and say it.

    Args:
        model (nn.Module): Of :func:`load_model`.
        image (ndarray): In BGR, of shape (H, W, 3).
        out (Path): The picture to write.
        opacity (float): Of a segmentor's classes over the image, in (0, 1]. Defaults
            to 0.5.

    Returns:
        str: Of a segmentor, the share of each class that is there, the largest first;
        of a classifier, the class and its probability, or all that it predicts.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    names = model.dataset_meta.get('classes')
    if not hasattr(model, 'decode_head'):
        tool = ImageClassificationInferencer(model)
        (found,) = tool.forward(next(tool.preprocess([image])))
        UniversalVisualizer().visualize_cls(
            image[..., ::-1], found, classes=names, out_file=str(out)
        )
        said = [  # of a head of several labels as many as it predicts, be it none
            f'{names[number] if names else number}: {found.pred_score[number]:.1%}'
            for number in found.pred_label.tolist()
        ]
        return ', '.join(said) or 'no class'
    found = inference_model(model, image)
    visualizer = SegLocalVisualizer(alpha=opacity)
    visualizer.dataset_meta = model.dataset_meta
    visualizer.add_datasample(
        'prediction', image[..., ::-1], found, draw_gt=False, out_file=str(out)
    )
    # Of a head with one output channel they are floating-point numbers.
    classes, counts = found.pred_sem_seg.data.long().unique(return_counts=True)
    shares = sorted(
        zip((counts / counts.sum()).tolist(), classes.tolist(), strict=True)
    )
    return ', '.join(
        f'{names[number] if names else number}: {share:.1%}'
        for share, number in reversed(shares)
    )
