"""--max-iters and --max-epochs scale what goes by the length of a training."""

import pytest
from mmengine.config import Config

from mmcosub.config.flags import set_length
from mmcosub.config.loading import find_config, read_config

SWIN = (
    'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
)


def upstream() -> Config:
    return read_config(find_config(SWIN))


def test_upstream_schedule() -> None:
    cfg = upstream()
    cfg.unlabelled = dict(data_root='more', ramp_iters=4000)
    set_length(cfg, 'max_iters', 16000)
    assert cfg.unlabelled.ramp_iters == 400
    assert cfg.train_cfg.max_iters == 16000
    assert cfg.train_cfg.val_interval == 1600
    assert cfg.default_hooks.checkpoint.interval == 1600
    warmup, poly = cfg.param_scheduler
    assert (warmup.begin, warmup.end, poly.begin, poly.end) == (0, 150, 150, 16000)


@pytest.mark.parametrize('iterations', [1, 2, 7, 40, 1000, 320000])
def test_any_length_can_be_trained(iterations: int) -> None:
    cfg = upstream()
    set_length(cfg, 'max_iters', iterations)
    # MMEngine ends a warm-up of one step at its first value, 1e-6 of the rate.
    assert len(cfg.param_scheduler) == 2 - (iterations < 160) - (iterations < 3)
    for each in cfg.param_scheduler:
        assert 0 <= each.begin < each.end - 1 < iterations
    assert iterations < 3 or cfg.param_scheduler[-1].end == iterations
    for earlier, later in zip(
        cfg.param_scheduler, cfg.param_scheduler[1:], strict=False
    ):
        assert earlier.end == later.begin
    assert 1 <= cfg.train_cfg.val_interval <= max(iterations // 10, 1)
    assert cfg.default_hooks.logger.interval <= max(iterations // 10, 1)


@pytest.mark.parametrize(
    ('schedule', 'expected'),
    [
        (dict(type='MultiStepLR', milestones=[100, 200]), dict(milestones=[10, 20])),
        (dict(type='CosineAnnealingLR', T_max=300), dict(T_max=30)),
        (dict(type='StepLR', step_size=30), dict(step_size=3)),
        (dict(type='OneCycleLR', total_steps=300), dict(total_steps=30)),
        (dict(type='PolyLR', begin=0, end=10**9), dict(begin=0, end=10**9)),
        (dict(type='LinearLR', begin=-1, end=4), dict(begin=-1, end=1)),
    ],
)
def test_schedules(schedule: dict, expected: dict) -> None:
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=300, val_begin=100),
            param_scheduler=dict(schedule),
            default_hooks=dict(checkpoint=dict(interval=5)),
            custom_hooks=[dict(type='EMAHook', begin_epoch=50)],
        )
    )
    set_length(cfg, 'max_epochs', 30)
    (found,) = cfg.param_scheduler
    assert {key: found[key] for key in expected} == expected
    assert cfg.train_cfg.val_begin == 10
    assert cfg.default_hooks.checkpoint.interval == 1
    assert cfg.custom_hooks[0].begin_epoch == 5


def test_one_epoch_is_its_warm_up() -> None:
    warm = dict(type='LinearLR', end=1, convert_to_iter_based=True)
    rest = dict(type='CosineAnnealingLR', begin=1)
    of_iterations = dict(type='PolyLR', begin=1500, by_epoch=False)
    schedules = [warm, rest, of_iterations]
    cfg = Config(dict(train_cfg=dict(max_epochs=10), param_scheduler=schedules))
    set_length(cfg, 'max_epochs', 1)
    assert [each.type for each in cfg.param_scheduler] == ['LinearLR', 'PolyLR']


def test_schedules_of_several_optimizers() -> None:
    schedules = dict(a=[dict(type='StepLR', step_size=10)], b=dict(type='X', end=10))
    cfg = Config(dict(train_cfg=dict(max_iters=10), param_scheduler=schedules))
    set_length(cfg, 'max_iters', 20)
    assert cfg.param_scheduler.a[0].step_size == 20
    assert cfg.param_scheduler.b[0].end == 20


@pytest.mark.parametrize(
    ('key', 'value', 'said'),
    [
        ('max_iters', 0, '--max-iters 0 must be 1 or more'),
        ('max_epochs', 3, '--max-epochs: .* no max_epochs: use --max-iters'),
    ],
)
def test_refused(key: str, value: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        set_length(upstream(), key, value)
