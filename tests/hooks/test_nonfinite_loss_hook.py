"""NonFiniteLossHook: when it stops a run, when it waits, and what it says."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmcosub.hooks import NonFiniteLossHook


def runner(optim_wrapper: Any, last: str | None = None) -> SimpleNamespace:
    """As much of a runner as the hook looks at, in iteration 7."""
    info = {} if last is None else {'last_ckpt': last}
    return SimpleNamespace(
        iter=6,
        optim_wrapper=optim_wrapper,
        logger=logging.getLogger('test'),
        message_hub=SimpleNamespace(runtime_info=info),
        model=torch.nn.Linear(1, 1),
        seed=0,
        work_dir='.',
    )


@pytest.fixture(autouse=True)
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hook writes is not for the current folder."""
    monkeypatch.chdir(tmp_path)


def amp(update: float | None = None, enabled: bool = True) -> Any:
    """A wrapper with a loss scaler; MMEngine's cannot be built without a GPU."""
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)
    wrapper._scale_update_param = update
    wrapper.loss_scaler = MagicMock(**{'is_enabled.return_value': enabled})
    return wrapper


def plain() -> OptimWrapper:
    """A wrapper without a loss scaler."""
    weight = torch.nn.Parameter(torch.ones(1))
    return OptimWrapper(torch.optim.SGD([weight], lr=0.1))


def outputs(value: float) -> dict:
    """Losses of an iteration, one of them as given."""
    return {
        'loss': torch.tensor(1.0 + value, requires_grad=True),
        'decode.loss_ce': torch.tensor(1.0),
        'aux.loss_ce': torch.tensor(value),
        'decode.acc_seg': torch.tensor(float('nan')),
    }


def test_finite_loss_passes() -> None:
    NonFiniteLossHook().after_train_iter(runner(plain()), 0, None, outputs(0.5))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_stops_at_once_and_says_all(value: float) -> None:
    with pytest.raises(FloatingPointError) as error:
        NonFiniteLossHook().after_train_iter(
            runner(plain(), 'w/iter_4.pth'), 0, None, outputs(value)
        )
    said = str(error.value)
    assert 'at iteration 7' in said
    assert f'loss = {value}, decode.loss_ce = 1, aux.loss_ce = {value}' in said
    assert 'acc_seg' not in said
    assert 'The last checkpoint, w/iter_4.pth, is intact' in said
    assert 'lower the learning rate' in said
    assert 'clip gradients' in said
    assert '--amp' not in said


def test_waits_while_a_loss_scaler_adapts() -> None:
    hook = NonFiniteLossHook(patience=2)
    scaled = runner(amp())
    for value in (float('inf'), float('inf'), 0.5, float('inf'), float('nan')):
        hook.after_train_iter(scaled, 0, None, outputs(value))
    with pytest.raises(FloatingPointError, match='train without --amp'):
        hook.after_train_iter(scaled, 0, None, outputs(float('inf')))


@pytest.mark.parametrize('wrapper', [amp(update=512.0), amp(enabled=False)])
def test_a_scaler_that_does_not_adapt_mends_nothing(wrapper: Any) -> None:
    with pytest.raises(FloatingPointError):
        NonFiniteLossHook().after_train_iter(
            runner(wrapper), 0, None, outputs(float('inf'))
        )


def test_broken_weights_are_not_written() -> None:
    """Another rank's loss may have broken them."""
    hook = NonFiniteLossHook()
    weights = {'a.weight': torch.ones(3), 'a.steps': torch.tensor(3)}
    weights['text.attn_mask'] = torch.full((2, 2), -torch.inf).triu(1)  # CLIP's
    hook.before_save_checkpoint(runner(plain()), dict(state_dict=weights))
    weights['b.weight'] = torch.tensor([1.0, float('nan')])
    with pytest.raises(FloatingPointError, match=r'b\.weight is not finite'):
        hook.before_save_checkpoint(runner(plain()), dict(state_dict=weights))


def test_negative_patience() -> None:
    with pytest.raises(ValueError, match='patience=-1 must not be negative'):
        NonFiniteLossHook(patience=-1)
