"""A resumed run goes on with what MMEngine's checkpoints lack or hold as code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from numbers_run import numbers_run, validation

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
