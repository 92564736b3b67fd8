"""Confusion matrix of a test set."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import ConfusionMatrix
from torch import Tensor

from mmcosub.config.model_settings import classifies
from mmcosub.engine import EvaluationRunner
from mmcosub.engine.runner import unwrapped

from .predictions import is_multi_label

_RESULT = 'confusion_matrix/result'


class PixelConfusion(BaseMetric):
    """MMPretrain's ``ConfusionMatrix`` for pixels, without ignored ones.

    Args:
        ignore_index (int): Label of ignored pixels. Defaults to 255.
        **kwargs: Arguments of ``BaseMetric``.
    """

    def __init__(self, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of some images.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): Predictions and labels, of shape (1, H, W).
        """
        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            label = sample['gt_sem_seg']['data'].flatten()
            found = sample['pred_sem_seg']['data'].flatten().to(label)
            counted = label != self.ignore_index
            matrix = ConfusionMatrix.calculate(found[counted], label[counted], classes)
            self.results.append(matrix.cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, Tensor]:
        """Return the sum of the counts.

        Args:
            results (list[Tensor]): Counts of each image, of shape (C, C).
        """
        return {'result': torch.stack(results).sum(dim=0)}

    default_prefix = 'confusion_matrix'


def confusion_matrix(cfg: Config) -> tuple[Tensor, list[str]]:
    """Test a checkpoint and return the confusion matrix.

    Args:
        cfg (Config): Config of a segmentor or classifier, with the checkpoint in
            ``load_from``.

    Returns:
        tuple: Counts of pixels or images by label (rows) and prediction (columns), of
        shape (C, C), and the names of the classes.

    Raises:
        ValueError: If the checkpoint does not fit, or images have several labels.
    """
    if classifies(cfg):
        metric: dict[str, Any] = dict(type='mmpretrain.ConfusionMatrix')
    else:
        heads = cfg.model.get('decode_head') or {}
        head = heads[-1] if isinstance(heads, list | tuple) else heads
        ignored = head.get('ignore_index', 255)
        metric = dict(type=PixelConfusion, ignore_index=ignored)
    cfg.test_evaluator = metric
    runner = EvaluationRunner.from_cfg(cfg)
    head = getattr(unwrapped(runner.model), 'head', None)
    if is_multi_label(head):
        raise ValueError(
            f'{type(head).__name__} gives an image several classes, of which there is '
            'no confusion matrix. Take a model with one class an image.'
        )
    matrix = runner.test()[_RESULT]
    meta = runner.test_loop.dataloader.dataset.metainfo
    names = meta.get('classes') or range(len(matrix))
    return matrix, [str(name) for name in names]


def save_matrix(matrix: Tensor, names: Sequence[str], out: Path) -> None:
    """Write a confusion matrix as JSON.

    Args:
        matrix (Tensor): Of shape (C, C).
        names (Sequence[str]): Names of the classes.
        out (Path): The file.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(dict(classes=list(names), matrix=matrix.tolist())) + '\n')


def draw_matrix(
    matrix: Tensor, names: Sequence[str], out: Path, values: bool, cmap: str
) -> None:
    """Draw a confusion matrix in percent of each label, with MMPretrain.

    Args:
        matrix (Tensor): Of shape (C, C).
        names (Sequence[str]): Names of the classes.
        out (Path): The image file.
        values (bool): Write numbers into the fields.
        cmap (str): Matplotlib colour map.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    percent = 100 * matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    with warnings.catch_warnings():
        # MMPretrain passes tensors to Matplotlib, which NumPy 2 deprecates.
        warnings.simplefilter('ignore', DeprecationWarning)
        figure = ConfusionMatrix.plot(
            percent.round().long(), values, cmap, list(names), show=False
        )
    figure.savefig(out)
