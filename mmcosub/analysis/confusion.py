"""Confusion matrix (classes, classes): labels in rows, predictions in columns."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.evaluation import ConfusionMatrix
from torch import Tensor

from mmcosub.config.model_settings import classifies, last_head
from mmcosub.engine import EvaluationRunner
from mmcosub.resuming import unwrapped

from .predictions import is_multi_label


def count_confusions(
    label: Tensor, prediction: Tensor, classes: int, ignored: int
) -> Tensor:
    """Count predictions by label, without what is ignored or no class."""
    known = (label >= 0) & (label < classes) & (label != ignored)
    return ConfusionMatrix.calculate(prediction[known], label[known], classes)


class PixelConfusion(ConfusionMatrix):
    """MMPretrain's ``ConfusionMatrix`` for pixels, without those labelled ignored."""

    def __init__(self, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            label = sample['gt_sem_seg']['data']
            found = sample['pred_sem_seg']['data'].to(label)
            matrix = count_confusions(label, found, classes, self.ignore_index)
            self.results.append(matrix.cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, Tensor]:
        return {'result': torch.stack(results).sum(dim=0)}


def confusion_matrix(cfg: Config) -> tuple[Tensor, list[str]]:
    """Test the checkpoint in ``load_from``: counts of pixels or images, class names."""
    cfg.test_evaluator = dict(type='mmpretrain.ConfusionMatrix')
    if not classifies(cfg):
        ignored = last_head(cfg).get('ignore_index', 255)
        cfg.test_evaluator = dict(type=PixelConfusion, ignore_index=ignored)
    runner = EvaluationRunner.from_cfg(cfg)
    head = getattr(unwrapped(runner.model), 'head', None)
    if is_multi_label(head):
        raise ValueError(
            f'{type(head).__name__} gives an image several classes, of which there is '
            'no confusion matrix. Take a model with one class an image.'
        )
    matrix = runner.test()['confusion_matrix/result']
    meta = runner.test_loop.dataloader.dataset.metainfo
    names = meta.get('classes') or range(len(matrix))
    return matrix, [str(name) for name in names]


def save_matrix(matrix: Tensor, names: Sequence[str], out: Path) -> None:
    """Write a confusion matrix as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(dict(classes=list(names), matrix=matrix.tolist())) + '\n')


def draw_matrix(
    matrix: Tensor, names: Sequence[str], out: Path, values: bool, cmap: str
) -> None:
    """Draw percentages of each label with MMPretrain, with numbers if ``values``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    percent = 100 * matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    with warnings.catch_warnings():
        # MMPretrain passes tensors to Matplotlib, which NumPy 2 deprecates.
        warnings.simplefilter('ignore', DeprecationWarning)
        figure = ConfusionMatrix.plot(
            percent.round().long(), values, cmap, list(names), show=False
        )
    figure.savefig(out)
