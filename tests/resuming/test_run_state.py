"""A resumed run goes on with what MMEngine's checkpoints lack or hold as code."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from numbers_run import Counting, numbers_run, validation

from mmcosub.resuming.stopping import Stopped

CYCLE = dict(type='OneCycleLR', eta_max=1.0, total_steps=20, by_epoch=False)
PATIENT = dict(type='EarlyStoppingHook', monitor='samples', rule='greater', patience=3)


def stopped_and_resumed(work_dir: Path, stop: int, **settings: Any) -> Any:
    """The run that goes on after a signal in its nth forward pass."""
    with pytest.raises(Stopped):
        numbers_run(work_dir, 4, epochs=5, stop=stop, **settings).train()
    again = numbers_run(work_dir, 4, epochs=5, **settings)
    again.train()
    return again


def test_schedule_with_a_method_in_its_state(tmp_path: Path) -> None:
    whole = numbers_run(tmp_path / 'whole', 4, epochs=5, param_scheduler=CYCLE)
    whole.train()
    resumed = stopped_and_resumed(tmp_path / 'again', 7, param_scheduler=CYCLE)
    assert torch.equal(resumed.model.weight, whole.model.weight)
    # Neither the method, nor the optimizer and weights that it belongs to.
    saved = torch.load(tmp_path / 'again' / 'epoch_5.pth', weights_only=False)
    assert 'anneal_func' not in saved['param_schedulers'][0]


@pytest.mark.parametrize('stop', [12, 17])
def test_patience_does_not_begin_anew(stop: int, tmp_path: Path) -> None:
    """The metric never improves: 4 validations, however the run is interrupted."""
    settings = dict(custom_hooks=[PATIENT], **validation(6, 6))
    whole = numbers_run(tmp_path / 'whole', 4, epochs=5, **settings)
    whole.train()
    assert whole.epoch == 4
    resumed = stopped_and_resumed(tmp_path / 'again', stop, **settings)
    assert resumed.epoch == 4


def test_without_the_average_training_goes_on(tmp_path: Path) -> None:
    """From the trained weights, which are the file's second set."""
    numbers_run(tmp_path / 'a', 4, 1, custom_hooks=[dict(type='EMAHook')]).train()
    ends = []
    for folder in ('a', 'b'):
        run = numbers_run(tmp_path / folder, 4, 2)
        run.train()
        ends.append(run.model.weight.item())
    assert ends[0] == ends[1] == -5


@pytest.mark.parametrize(
    ('unit', 'saving', 'name'),
    [
        ('epoch', dict(interval=3), 'epoch_2.pth'),
        ('iter', dict(interval=3, by_epoch=False), 'iter_2.pth'),
        ('iter', dict(interval=1), 'epoch_1.pth'),  # MMEngine saves this one
    ],
)
def test_early_stop_leaves_its_checkpoint(
    unit: str, saving: dict, name: str, tmp_path: Path
) -> None:
    """Also between two intervals. Resumed, the run does not go on."""
    settings = dict(
        train_cfg={'by_epoch': unit == 'epoch', f'max_{unit}s': 9, 'val_interval': 1},
        custom_hooks=[{**PATIENT, 'patience': 1}],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', **saving)),
        **validation(6, 6),
    )
    for _ in range(2):
        run = numbers_run(tmp_path, 4, epochs=9, **settings)
        run.train()
        assert getattr(run, unit) == 2
        assert name in [path.name for path in tmp_path.glob('*.pth')]


PLATEAU = dict(
    type='ReduceOnPlateauLR', monitor='samples', rule='greater', patience=1, factor=0.5
)


class Ending(Hook):
    """Ends a run before the second epoch, after the validation of the first."""

    priority = 'HIGHEST'

    def __init__(self, killed: bool) -> None:
        self.killed = killed

    def before_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        if runner.iter == 4 and self.killed:
            raise KeyboardInterrupt
        if runner.iter == 4:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize(
    ('killed', 'best'), [(True, 'samples'), (False, 'samples'), (False, None)]
)
def test_schedule_steps_once_for_a_validation(
    killed: bool, best: str | None, tmp_path: Path
) -> None:
    """Also where the best checkpoint was saved; a stop after it has its results."""
    saving = dict(type='CheckpointHook', interval=1, save_best=best, rule='greater')
    settings = dict(param_scheduler=PLATEAU, default_hooks=dict(checkpoint=saving))
    settings.update(validation(6, 6))
    whole = numbers_run(tmp_path / 'whole', 4, epochs=4, **settings)
    whole.train()
    run = numbers_run(tmp_path / 'again', 4, epochs=4, **settings)
    run.register_hook(Ending(killed))
    with pytest.raises(KeyboardInterrupt if killed else Stopped):
        run.train()
    before = Counting.validations
    again = numbers_run(tmp_path / 'again', 4, epochs=4, **settings)
    again.train()
    assert Counting.validations - before == (4 if killed else 3)
    assert torch.equal(again.model.weight, whole.model.weight)
