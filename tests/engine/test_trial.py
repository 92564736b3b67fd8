"""Validation is tried on one batch before training, without traces."""

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS
from stock import runner_of, segmentation_config, write_config
from torch import nn

from mmcosub.engine.trial import check_windows, leaving_no_traces

SAVE_BEST = dict(type='CheckpointHook', by_epoch=False, interval=2)
PLATEAU = dict(type='ReduceOnPlateauLR', monitor='mDice')
EARLY = dict(type='EarlyStoppingHook', monitor='dice', rule='greater')
SLIDE = dict(mode='slide', crop_size=(16, 16))


@METRICS.register_module()
class StoppedAtTheEnd(BaseMetric):
    """Fails in what only the end of a validation calls."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        torch.rand(3), np.random.rand(3), random.random()
        self.results.append(1)

    def compute_metrics(self, results: list) -> dict:
        if self.collect_device == 'cpu':
            raise RuntimeError('no such class')
        return {}


@HOOKS.register_module()
class Draws(Hook):
    """Notes the losses and what the generators give in the first iteration."""

    noted: list = []

    def before_train(self, runner: Any) -> None:
        self.noted += [torch.rand(1).item(), np.random.rand(), random.random()]

    def after_train_iter(self, runner: Any, outputs: Any = None, **_: Any) -> None:
        self.noted.append(outputs['loss'].item())


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'val_evaluator.iou_metrics': ['mIOU']}, 'mIOU'),
        (
            {'default_hooks.checkpoint': {**SAVE_BEST, 'save_best': 'mDice'}},
            "default_hooks.checkpoint.save_best='mDice' is not among",
        ),
        (
            {'default_hooks.checkpoint': {**SAVE_BEST, 'save_best': ['mIoU', 'miou']}},
            "'miou' is not among the results of validation. Did you mean 'mIoU'",
        ),
        ({'param_scheduler': [PLATEAU]}, "ReduceOnPlateauLR='mDice'"),
        ({'custom_hooks': [EARLY]}, "monitor of EarlyStoppingHook='dice'"),
        ({'model.test_cfg': {**SLIDE, 'stride': (17, 8)}}, 'test_cfg.stride=(17, 8)'),
        ({'model.test_cfg': {**SLIDE, 'stride': (8, 0)}}, 'stride=(8, 0)'),
        (
            {'val_evaluator': dict(type='StoppedAtTheEnd', _delete_=True)},
            'no such class',
        ),
        (
            {'val_dataloader.dataset.pipeline': [dict(type='LoadImageFromFile')]},
            'The first batch of validation fails',
        ),
    ],
)
@pytest.mark.sweep(every=3)
def test_refused_before_training(config: Path, changes: dict, said: str) -> None:
    runner = runner_of(config, co_train=False, **changes)
    with pytest.raises(ValueError, match=re.escape(said)):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize('absent', [True, False])
def test_what_waits_for_a_validation(
    absent: bool, config: Path, capsys: pytest.CaptureFixture
) -> None:
    """Where there is none, or where it begins after the end."""
    without = dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator'))
    changes = without if absent else {'train_cfg.val_begin': 9}
    runner_of(config, custom_hooks=[EARLY], **changes).train()
    said = ' '.join(capsys.readouterr().out.split())
    assert "monitor of EarlyStoppingHook='dice' does nothing" in said


def test_no_traces(tmp_path: Path, scenes: Path) -> None:
    """Losses, generators, statistics and logs are the same to the bit without it."""
    cfg = segmentation_config(scenes)
    cfg['val_dataloader']['batch_size'] = 3
    cfg['custom_hooks'] = [dict(type='Draws')]
    cfg['default_hooks']['checkpoint'] |= dict(save_best='mIoU')
    noted, logged, weights = [], [], []
    for skipped in (False, True):
        folder = tmp_path / str(skipped)
        path = write_config(
            tmp_path / f'{skipped}.py', {**cfg, 'work_dir': str(folder)}
        )
        Draws.noted = []
        runner = runner_of(path, skip_checks=skipped)
        runner.train()
        assert runner.model.scheme.check_network is not skipped
        noted.append(Draws.noted)
        lines = next(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            for key in ('time', 'data_time'):
                row.pop(key, None)
        logged.append(rows)
        weights.append(torch.load(folder / 'iter_4.pth', weights_only=False))
        assert len(runner.val_evaluator.metrics[0].results) == 0
    assert noted[0] == noted[1]
    assert len(noted[0]) == 7
    assert logged[0] == logged[1]
    first, second = (each['state_dict'] for each in weights)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ('mean', 'std', 'warns'),
    [(120.0, 60.0, False), (0.45, 0.22, True), (120.0 * 256, 60.0 * 256, True)],
)
def test_values_that_normalisation_is_not_for(
    config: Path, mean: float, std: float, warns: bool, capsys: pytest.CaptureFixture
) -> None:
    """Statistics of images of 0 to 1, and of 16 bits, for images of 8 bits."""
    normalise = dict(type='SegDataPreProcessor', mean=[mean] * 3, std=[std] * 3)
    changes = {'model.data_preprocessor': dict(normalise, size=(32, 32))}
    runner = runner_of(config, co_train=False, **changes)
    runner.register_hook(_Stops())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    said = capsys.readouterr()
    assert ('and should have about 0 and 1' in said.out + said.err) is warns


def test_not_tried(config: Path) -> None:
    changes: dict = {'val_evaluator.iou_metrics': ['mIOU']}
    for more in ({'skip_checks': True}, {'train_cfg.val_begin': 9}):
        runner = runner_of(config, co_train=False, **changes, **more)
        runner.register_hook(_Stops())
        with pytest.raises(KeyboardInterrupt):
            runner.train()


class _Stops(Hook):
    def before_train_iter(self, *args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt


def test_modes_of_modules_are_kept() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    model[0].eval()
    with leaving_no_traces(model):
        model.train()
    assert (model.training, model[0].training, model[1].training) == (True, False, True)


def test_windows_that_cover_the_image() -> None:
    for settings in (dict(mode='whole'), {**SLIDE, 'stride': (16, 8)}, None):
        model = nn.Module()
        model.test_cfg = settings
        check_windows(model)
