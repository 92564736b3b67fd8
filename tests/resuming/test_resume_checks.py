"""A checkpoint that lacks something of a run is refused, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from numbers_run import numbers_run, validation

ADAM = dict(optimizer=dict(type='Adam', lr=0.1))
LINEAR = dict(type='LinearLR', start_factor=0.5, begin=0, end=3)
STEP = dict(type='StepLR', step_size=1)


def run(work_dir: Path, epochs: int = 1, **cfg: Any) -> Any:
    """A run by epochs; the settings that it does not resume with are given."""
    cfg.setdefault('param_scheduler', [LINEAR])
    cfg.setdefault('custom_hooks', [dict(type='EMAHook')])
    return numbers_run(work_dir, 4, epochs, optim_wrapper=ADAM, **cfg)


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[Callable[[dict], Any]], Path]:
    """Trains an epoch, and changes the checkpoint."""

    def edit(change: Callable[[dict], Any]) -> Path:
        run(tmp_path).train()
        checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
        change(checkpoint)
        torch.save(checkpoint, tmp_path / 'epoch_1.pth')
        return tmp_path

    return edit


REFUSED: dict[str, tuple[Callable[[dict], Any], str]] = {
    'no schedules': (lambda c: c.pop('param_schedulers'), 'no state of the schedules'),
    'none of them': (lambda c: c['param_schedulers'].clear(), 'no state of the sch'),
    'one more': (
        lambda c: c['param_schedulers'].append(c['param_schedulers'][0]),
        'state of 2 schedules, and this config has 1',
    ),
    'no iteration': (lambda c: c['meta'].pop('iter'), 'no iteration'),
    'a path': (lambda c: c['meta'].update(iter='../4'), 'no iteration'),
    'negative': (lambda c: c['meta'].update(epoch=-1), 'no iteration'),
    'no logs': (lambda c: c['message_hub'].clear(), 'no message_hub'),
    'empty optimizer': (lambda c: c['optimizer'].clear(), 'no optimizer'),
    'optimizer is none': (lambda c: c.update(optimizer=None), 'no optimizer'),
    'no moments': (lambda c: c['optimizer']['state'].clear(), 'no state of the opt'),
    'no average': (lambda c: c.pop('ema_state_dict'), 'EMAHook was False and is True'),
    'average of less': (
        lambda c: c['ema_state_dict'].pop('module.weight'),
        r'no weight\)',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_a_run_needs(name: str, edited: Callable) -> None:
    change, said = REFUSED[name]
    again = run(edited(change), 2)
    again.cfg.allow_changes = False
    with pytest.raises(ValueError, match=said) as error:
        again.train()
    assert 'load_from=' in str(error.value) or '--allow-changes' in str(error.value)


@pytest.mark.parametrize('schedules', [[LINEAR, STEP], [STEP], None])
def test_other_schedules(schedules: list | None, edited: Callable) -> None:
    again = run(edited(lambda _: None), 2, param_scheduler=schedules)
    with pytest.raises(ValueError, match='state of 1 schedules, and this config has'):
        again.train()


def of_length(epochs: int) -> list[dict]:
    """Schedules of all kinds that end with a run of four iterations an epoch."""
    return [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6),
        dict(type='PolyLR', by_epoch=False, begin=6, end=4 * epochs + 3, power=0.9),
        dict(type='ExponentialLR', gamma=0.5 + 0.1 * epochs),
        dict(type='CosineAnnealingMomentum', T_max=epochs, convert_to_iter_based=True),
    ]


def scheduled(runner: Any) -> list[float]:
    (group,) = runner.optim_wrapper.optimizer.param_groups
    return [group['lr'], group['momentum'], group['betas'][0]]


@pytest.mark.parametrize('by', [4, 7, 8])
def test_a_longer_run_has_schedules_of_its_length(tmp_path: Path, by: int) -> None:
    """As if they had been the run's from the start; upstream's learning rate is 0."""
    whole = run(tmp_path / 'whole', 4, param_scheduler=of_length(4))
    whole.train()
    config = dict(param_scheduler=of_length(2))
    config['default_hooks'] = dict(
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=by)
    )
    run(tmp_path / 'again', 2, **config).train()
    config['param_scheduler'] = of_length(4)
    file = tmp_path / 'again' / f'iter_{by}.pth'
    again = run(tmp_path / 'again', 4, load_from=str(file), **config)
    again.train()
    log = ''.join(each.read_text() for each in (tmp_path / 'again').glob('*/*.log'))
    assert 'param_scheduler.1.end was 11 and is 19' in log
    assert "The config's are used, as if from the start" in log
    assert scheduled(again) == pytest.approx(scheduled(whole), rel=1e-12)
    assert scheduled(again)[0] > 0
    assert again.iter == 16


def test_schedules_by_metrics_go_on(tmp_path: Path) -> None:
    """They depend on what was measured, so the checkpoint's are used."""
    plateau = dict(type='ReduceOnPlateauLR', monitor='samples', rule='greater')
    for epochs, factor in ((1, 0.5), (2, 0.25)):
        schedules = [{**LINEAR, 'start_factor': factor}, plateau]
        run(tmp_path, epochs, param_scheduler=schedules, **validation(4, 4)).train()
    log = ''.join(each.read_text() for each in tmp_path.glob('*/*.log'))
    assert 'param_scheduler.0.start_factor was 0.5 and is 0.25' in log
    assert "The checkpoint's continue" in log


AMP = dict(type='AmpOptimWrapper', **ADAM)


@pytest.mark.parametrize(
    ('before', 'after', 'said'),
    [
        # Its settings are loaded with it, so those of the config would reach nothing.
        (
            ADAM,
            dict(optimizer=dict(type='SGD', lr=0.1)),
            r"optimizer\.type was 'Adam' and is 'SGD'",
        ),
        (ADAM, AMP, "mixed_precision was False and is 'default type'"),
        (AMP, ADAM, "mixed_precision was 'default type' and is False"),
        (
            AMP,
            dict(dtype='bfloat16', **AMP),
            "mixed_precision was 'default type' and is 'bfloat16'",
        ),
    ],
)
def test_another_optim_wrapper(
    before: dict, after: dict, said: str, tmp_path: Path
) -> None:
    first = run(tmp_path)
    first.cfg.optim_wrapper = before
    first.train()
    again = run(tmp_path, 2)
    again.cfg.update(optim_wrapper=after, allow_changes=False)
    with pytest.raises(ValueError, match=said):
        again.train()


@pytest.mark.parametrize('at', [2, 3])
def test_what_stops_before_the_first_step(at: int, tmp_path: Path) -> None:
    """There is no state of an optimizer yet, and none is missing."""
    adam = dict(**ADAM, accumulative_counts=4)
    for stop, epochs in ((at, 2), (None, 2)):
        each = numbers_run(tmp_path, 4, epochs, stop=stop, optim_wrapper=adam)
        if stop:
            with pytest.raises(SystemExit):
                each.train()
        else:
            each.train()
    assert each.iter == 8
