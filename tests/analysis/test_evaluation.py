"""Metrics of an evaluator, in numbers."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from mmcosub.analysis.evaluation import Evaluation


def test_metrics_that_are_no_number_are_left_out() -> None:
    found = {
        'accuracy/top1': torch.tensor(50.0),
        'mIoU': np.float32(10.5),
        'confusion_matrix/result': torch.eye(2),
        'single-label/precision_classwise': [1.0, 2.0],
    }
    evaluator = SimpleNamespace(evaluate=lambda images: found)
    loader = type('Loader', (list,), dict(dataset=[0]))()
    loop = SimpleNamespace(dataloader=loader, evaluator=evaluator)
    runner = SimpleNamespace(model=nn.Identity(), test_loop=loop)
    assert Evaluation(runner)() == {'accuracy/top1': 50.0, 'mIoU': 10.5}


def test_a_lower_calibration_error_scores_higher() -> None:
    def score(**found: float) -> float:
        evaluator = SimpleNamespace(evaluate=lambda images: found)
        loader = type('Loader', (list,), dict(dataset=[0]))()
        loop = SimpleNamespace(dataloader=loader, evaluator=evaluator)
        runner = SimpleNamespace(model=nn.Identity(), test_loop=loop)
        return Evaluation(runner, metric=next(iter(found))).score()

    for name in ('NLL', 'ECE', 'probability/Brier'):
        assert score(**{name: 1.0}) > score(**{name: 2.0})
    assert score(mAcc=2.0) > score(mAcc=1.0)
