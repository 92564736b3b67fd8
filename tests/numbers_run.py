"""Runs over numbers from 0 on, which say what each iteration trained on."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from stock import forget_runners
from torch import nn

from mmcosub.engine import CoTrainingRunner

_SGD = dict(optimizer=dict(type='SGD', lr=0.1))


class Numbers(torch.utils.data.Dataset):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return dict(inputs=torch.tensor(float(index)))


class Noting(BaseModel):
    """Notes what it is trained on; a signal comes in one iteration of the run.

    Args:
        stop (int, optional): Number of the iteration, from 1. Defaults to None.
    """

    def __init__(self, stop: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.stop = stop
        self.seen: list[list[int]] = []

    def forward(self, inputs: list[torch.Tensor], mode: str) -> Any:
        self.seen.append([int(x) for x in inputs])
        if len(self.seen) == self.stop:
            os.kill(os.getpid(), signal.SIGUSR1)
        if mode != 'loss':
            return [dict(number=x) for x in inputs]
        return dict(loss=(self.weight * torch.stack(inputs)).mean())


class Counting(BaseMetric):
    """Number of samples of a validation."""

    validations = 0
    """How many validations have ended, of all runs."""

    def process(self, data_batch: Any, data_samples: list) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list) -> dict[str, float]:
        Counting.validations += 1
        return dict(samples=len(results))


def validation(count: int, batch: int, **settings: Any) -> dict[str, Any]:
    """Settings of a validation over numbers."""
    return dict(
        val_dataloader=loader(count, batch, **settings),
        val_evaluator=[Counting()],
        val_cfg=dict(),
    )


def loader(count: int, batch: int, **settings: Any) -> dict[str, Any]:
    """Config of a loader of numbers in order."""
    sampler = dict(type='DefaultSampler', shuffle=False)
    return dict(
        dataset=Numbers(count), batch_size=batch, num_workers=0, sampler=sampler
    ) | dict(settings)


def numbers_run(
    work_dir: Path,
    batch: int,
    epochs: int,
    stop: int | None = None,
    count: int = 16,
    **cfg: Any,
) -> CoTrainingRunner:
    """A run by epochs, in order, that resumes if it can and takes all changes."""
    forget_runners()
    settings: dict[str, Any] = dict(
        model=Noting(stop),
        work_dir=str(work_dir),
        train_dataloader=loader(count, batch),
        optim_wrapper=cfg.pop('optim_wrapper', _SGD),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        resume=any(Path(work_dir).glob('*.pth')),
        cfg=Config(dict(allow_changes=True, skip_checks=True)),
    )
    return CoTrainingRunner(**settings | cfg)
