"""CoTrainingRunner: what it builds, checks and loads."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from numbers_run import numbers_run
from stock import runner_of
from torch import nn

import mmcosub.engine.data
from mmcosub.engine import CoTrainingRunner, EvaluationRunner, apply_scheme
from mmcosub.engine.data import classes_of
from mmcosub.engine.runner import register_ours
from mmcosub.hooks import CoTrainingLossHook
from mmcosub.schemes import Cosub


def hooks(runner: CoTrainingRunner) -> list[str]:
    """Names of its hooks."""
    return [type(hook).__name__ for hook in runner._hooks]


def test_wrapper_only_where_there_is_a_scheme(config: Path) -> None:
    co_trained = runner_of(config)
    assert type(co_trained.model).__name__ == 'CoTrainingEncoderDecoder'
    assert hooks(co_trained).count('CoTrainingLossHook') == 1
    assert co_trained.cfg.model.type == 'EncoderDecoder'
    stock = runner_of(config, co_train=False)
    assert type(stock.model).__name__ == 'EncoderDecoder'
    assert 'CoTrainingLossHook' not in hooks(stock)
    assert co_trained.model.state_dict().keys() == stock.model.state_dict().keys()


def test_what_runs_faster_is_logged(config: Path) -> None:
    runner_of(config, co_train=False, fast=True)
    (log,) = (config.parent / 'w').rglob('*.log')
    assert 'fast: 2 decode heads and 4 attentions run faster' in log.read_text()


def test_hooks_derived_from_ours_stand_for_them() -> None:
    """A second one would undo its ramp."""

    class Derived(CoTrainingLossHook):
        pass

    added: list[dict] = []
    runner = SimpleNamespace(hooks=[Derived(ramp=3)], register_hook=added.append)
    register_ours(runner, Cosub)
    assert [each['type'][8:] for each in added] == ['NonFiniteLossHook', 'RunFactsHook']


def test_evaluation_is_the_stock_models(config: Path) -> None:
    cfg = Config.fromfile(config)
    apply_scheme(cfg, 'cosub')
    runner = EvaluationRunner.from_cfg(cfg)
    assert type(runner.model).__name__ == 'EncoderDecoder'
    assert 'CoTrainingLossHook' not in hooks(runner)


def test_runs_of_one_program_log_into_their_own_folders(
    config: Path, tmp_path: Path
) -> None:
    """Although stock configs call all visualizers the same."""
    backends = [dict(type='LocalVisBackend')]
    stock = dict(type='SegLocalVisualizer', name='visualizer', vis_backends=backends)
    named = dict(visualizer=stock)
    first = runner_of(config, **named)
    cfg = Config.fromfile(config)
    other = dict(work_dir=str(tmp_path / 'second'), experiment_name='second')
    cfg.merge_from_dict({**named, **other})
    second = CoTrainingRunner.from_cfg(cfg)
    for runner in (first, second):
        (backend,) = runner.visualizer._vis_backends.values()
        assert Path(backend._save_dir).parent == Path(runner._log_dir)
    assert Visualizer.get_current_instance() is second.visualizer  # of hooks


def test_averaged_weights_are_tested_as_they_are(config: Path) -> None:
    cfg = Config.fromfile(config)
    cfg.custom_hooks = [dict(type='mmpretrain.EMAHook', evaluate_on_origin=True)]
    assert 'EMAHook' not in hooks(EvaluationRunner.from_cfg(cfg))


@pytest.mark.parametrize('kind', ['mmengine.CheckpointHook', CheckpointHook])
def test_checkpoints_are_whole_however_the_hook_is_named(
    config: Path, kind: str | type
) -> None:
    runner = runner_of(config, **{'default_hooks.checkpoint.type': kind})
    assert 'WholeCheckpointHook' in hooks(runner)
    assert 'CheckpointHook' not in hooks(runner)


def test_hooks_that_the_config_names_stay_its_own(config: Path) -> None:
    ours = [
        dict(type='mmcosub.CoTrainingLossHook', ramp=7),
        dict(type='mmcosub.NonFiniteLossHook', patience=3),
    ]
    runner = runner_of(config, custom_hooks=ours)
    for name, attribute, value in (
        ('CoTrainingLossHook', 'ramp', 7),
        ('NonFiniteLossHook', 'patience', 3),
    ):
        assert hooks(runner).count(name) == 1
        assert getattr(runner._hooks[hooks(runner).index(name)], attribute) == value


def test_nonfinite_loss_is_seen_before_a_checkpoint_is_written(config: Path) -> None:
    order = hooks(runner_of(config))
    assert order.index('NonFiniteLossHook') < order.index('WholeCheckpointHook')


def test_data_are_checked_and_guarded(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, guarded = [], []
    monkeypatch.setattr(
        mmcosub.engine.data,
        'check_segmentation_data',
        lambda *a, **_: checked.append(a),
    )
    monkeypatch.setattr(mmcosub.engine.data, 'guard', lambda *a, **_: guarded.append(a))
    changes = {'train_cfg.max_iters': 1}
    changes |= {
        f'model.{h}.ignore_index': 254 for h in ('decode_head', 'auxiliary_head')
    }
    runner_of(config, **changes).train()
    folders = [data['data_prefix']['img_path'] for data, *_ in checked]
    assert folders == ['images/training', 'images/validation']
    assert [len(dataset) for dataset, *_ in guarded] == [8, 4]
    assert all(classes[:2] == [5, 254] for _, *classes in checked + guarded)


def test_classes_are_those_of_the_last_head() -> None:
    heads = [nn.Identity() for _ in range(2)]
    for head, classes in zip(heads, (3, 4), strict=True):
        head.num_classes, head.ignore_index = classes, 250 + classes
    model = nn.Module()
    assert classes_of(model) is None
    model.decode_head = nn.ModuleList(heads)
    assert classes_of(model) == (4, 254)


def test_a_check_that_fails_comes_before_training(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def check(*args: Any, **options: Any) -> None:
        raise ValueError('label out of range')

    monkeypatch.setattr(mmcosub.engine.data, 'check_segmentation_data', check)
    with pytest.raises(ValueError, match='label out of range'):
        runner_of(config).train()
    assert not list((tmp_path / 'w').glob('*.pth'))


@pytest.mark.parametrize('key', ['load_from', 'model.init_cfg'])
def test_checkpoint_that_hardly_matches(key: str, config: Path, tmp_path: Path) -> None:
    torch.save({f'encoder.{i}.weight': torch.ones(2) for i in range(4)}, tmp_path / 'a')
    file: Any = str(tmp_path / 'a')
    if key == 'model.init_cfg':
        file = dict(type='Pretrained', checkpoint=file)
    runner = runner_of(config, **{key: file})
    with pytest.raises(ValueError, match=r'only 0 of its 4 weights .* encoder\.0'):
        runner.train()


@pytest.mark.parametrize('package', ['mmengine', 'mmpretrain'])
@pytest.mark.parametrize('tool', ['timm', 'mmengine'])
def test_weights_to_start_from_beside_an_average(
    tool: str, package: str, tmp_path: Path
) -> None:
    """EMAHook reads ``state_dict``, which timm's files lack, and the averaged head."""
    init_default_scope('mmpretrain')
    hook = dict(type=f'{package}.EMAHook')
    run = numbers_run(tmp_path / 'w', 4, 1, custom_hooks=[hook])
    run.model.head = nn.Linear(1, 2)
    sets: dict[str, dict] = {}
    for name, value in (('state_dict', 3.0), ('ema_state_dict', 0.0)):
        sets[name] = dict(weight=torch.full((1,), value))
        sets[name]['head.weight'] = torch.ones(4, 1)
    if tool == 'timm':
        sets = dict(model=sets['ema_state_dict'], model_ema=sets['state_dict'])
    else:
        average = {f'module.{k}': v for k, v in sets['ema_state_dict'].items()}
        sets['ema_state_dict'] = {**average, 'steps': torch.tensor(7)}
    torch.save(sets, tmp_path / 'file.pth')
    run.call_hook('before_run')
    run.load_checkpoint(str(tmp_path / 'file.pth'))
    average = next(h.ema_model for h in run.hooks if isinstance(h, EMAHook))
    assert run.model.weight == average.module.weight == 3
    assert torch.equal(run.model.head.weight, average.module.head.weight)


def test_prefix_of_a_pretrained_backbone(config: Path, tmp_path: Path) -> None:
    file = tmp_path / 'two.pth'
    own = runner_of(config).model.backbone.state_dict()
    names = [k for k in own if 'relative_position_index' not in k]
    prefixes = {'backbone.': 1.0, 'momentum.module.0.': 2.0}
    torch.save(
        {
            f'{prefix}{name}': torch.full_like(own[name], value)
            for prefix, value in prefixes.items()
            for name in names
        },
        file,
    )
    for prefix, value in ((None, 1.0), ('momentum.module.0', 2.0)):
        init = dict(type='Pretrained', checkpoint=str(file), prefix=prefix)
        runner = runner_of(config, **{'model.backbone.init_cfg': init})
        runner._init_model_weights()
        state = runner.model.backbone.state_dict()
        assert all((state[name] == value).all() for name in names)
