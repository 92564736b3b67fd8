"""tools/train.py: stock and co-trained runs, resuming, and what bad input gets."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

FLAGS = {
    '--help',
    '--work-dir',
    '--resume',
    '--amp',
    '--co-train',
    '--backbone',
    '--backbone-weights',
    '--backbone-allow-unused',
    '--probability-metrics',
    '--max-epochs',
    '--max-iters',
    '--unlabelled',
    '--fast',
    '--trust-checkpoint',
    '--allow-changes',
    '--skip-checks',
    '--debug',
    '--cfg-options',
    '--launcher',
    '--local-rank',
    '--local_rank',
}


def losses(work_dir: Path) -> list[float]:
    """Losses that the runs in a work directory logged."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [line for log in logs for line in log.read_text().splitlines()]
    return [line['loss'] for line in map(json.loads, lines) if 'loss' in line]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights in a checkpoint."""
    return torch.load(path, weights_only=False)['state_dict']


def refused(train: ModuleType, capsys: pytest.CaptureFixture, *argv: object) -> str:
    """What the script says of arguments that it refuses."""
    with pytest.raises(SystemExit) as exit_:
        train.main([str(a) for a in argv])
    assert exit_.value.code == 2
    return ' '.join(capsys.readouterr().err.split())


def test_flags(train: ModuleType) -> None:
    """A flag that comes or goes is a decision, also about this list."""
    options = train.make_parser()._option_string_actions
    assert {name for name in options if name.startswith('--')} == FLAGS


def test_stock_config(train: ModuleType, config: Path, tmp_path: Path) -> None:
    train.main([str(config)])
    assert (tmp_path / 'w' / 'last_checkpoint').read_text().endswith('iter_4.pth')
    assert len(losses(tmp_path / 'w')) == 4
    scalars = next((tmp_path / 'w').glob('*/vis_data/scalars.json')).read_text()
    assert 'mIoU' in scalars
    assert 'co_training' not in scalars


def test_length_probability_metrics_and_closing_line(
    train: ModuleType, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    train.main([str(config), '--max-iters', '2', '--probability-metrics'])
    done, following = capsys.readouterr().out.splitlines()[-2:]
    checkpoint = tmp_path / 'w' / 'iter_2.pth'
    assert checkpoint.is_file()
    assert done.startswith('Trained for 2 iterations; last mIoU ')
    assert done.endswith(f'; checkpoint {checkpoint}')
    assert following == f'Next: mmcosub test {config} {checkpoint}'
    (log,) = (tmp_path / 'w').glob('*/vis_data/scalars.json')
    assert {'mIoU', 'NLL', 'ECE', 'Brier'} <= set(
        json.loads(log.read_text().splitlines()[-1])
    )


def test_co_trained_checkpoint_is_stock(
    train: ModuleType, config: Path, tmp_path: Path
) -> None:
    train.main([str(config), '--co-train', 'cosub'])
    scalars = next((tmp_path / 'w').glob('*/vis_data/scalars.json')).read_text()
    assert 'loss_co_training' in scalars
    model = MODELS.build(Config.fromfile(config).model)
    model.load_state_dict(weights(tmp_path / 'w' / 'iter_4.pth'), strict=True)
    dumped = Config.fromfile(tmp_path / 'w' / 'tiny.py')
    assert dumped.model.type == 'EncoderDecoder'
    assert dumped.scheme.type == 'mmcosub.Cosub'


def test_options_reach_the_scheme(
    train: ModuleType, config: Path, tmp_path: Path
) -> None:
    options = ['--cfg-options', 'scheme.weight=0.25', 'train_cfg.max_iters=1']
    train.main([str(config), '--co-train', 'cosub', *options])
    assert Config.fromfile(tmp_path / 'w' / 'tiny.py').scheme.weight == 0.25
    line = next((tmp_path / 'w').glob('*/vis_data/scalars.json')).read_text()
    scalars = json.loads(line.splitlines()[0])
    labels = (scalars['label_view0'] + scalars['label_view1']) / 2
    assert scalars['decode.loss_ce'] == pytest.approx(0.75 * labels, rel=1e-4)


def test_resume_latest(train: ModuleType, config: Path, tmp_path: Path) -> None:
    """Without a checkpoint it starts; with one it goes on, to where it was to go."""
    train.main([str(config), '--resume', '--cfg-options', 'train_cfg.max_iters=2'])
    first = weights(tmp_path / 'w' / 'iter_2.pth')
    assert len(losses(tmp_path / 'w')) == 2
    train.main([str(config), '--resume'])
    assert len(losses(tmp_path / 'w')) == 4
    last = torch.load(tmp_path / 'w' / 'iter_4.pth', weights_only=False)
    assert last['meta']['iter'] == 4
    assert any((last['state_dict'][k] != first[k]).any() for k in first)


def test_resume_path(train: ModuleType, config: Path, tmp_path: Path) -> None:
    train.main([str(config), '--co-train', 'cosub'])
    start = tmp_path / 'w' / 'iter_2.pth'
    elsewhere = ['--work-dir', str(tmp_path / 'w2'), '--resume', str(start)]
    train.main([str(config), '--co-train', 'cosub', *elsewhere])
    assert len(losses(tmp_path / 'w2')) == 2
    plans = [
        torch.load(tmp_path / w / 'iter_4.pth', weights_only=False)['message_hub']
        for w in ('w', 'w2')
    ]
    drawn = [hub['runtime_info']['co_training_plans']['drawn'] for hub in plans]
    assert drawn == [4, 4]


@pytest.mark.parametrize('kind', ['mmengine.OptimWrapper', OptimWrapper])
def test_amp_however_the_wrapper_is_named(train: ModuleType, kind: str | type) -> None:
    cfg = Config(dict(optim_wrapper=dict(type=kind)))
    for _ in range(2):  # the second time it is one already
        train.use_amp(cfg)
        assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', loss_scale='dynamic')


def test_amp(train: ModuleType, config: Path, tmp_path: Path) -> None:
    train.main([str(config), '--co-train', 'cosub', '--amp'])
    assert len(losses(tmp_path / 'w')) == 4
    saved = weights(tmp_path / 'w' / 'iter_4.pth')
    assert all(v.dtype != torch.bfloat16 for v in saved.values())
    # A run on a GPU can take it up.
    dumped = Config.fromfile(tmp_path / 'w' / 'tiny.py').optim_wrapper
    assert (dumped.type, dumped.loss_scale) == ('AmpOptimWrapper', 'dynamic')


def test_classification(
    train: ModuleType, classification_config: Path, tmp_path: Path
) -> None:
    train.main([str(classification_config)])
    assert (tmp_path / 'w' / 'epoch_1.pth').is_file()


def test_co_trained_classification(
    train: ModuleType, classification_config: Path, tmp_path: Path
) -> None:
    train.main([str(classification_config), '--co-train', 'cosub'])
    scalars = next((tmp_path / 'w').glob('*/vis_data/scalars.json')).read_text()
    assert 'loss_co_training' in scalars
    model = MODELS.build(Config.fromfile(classification_config).model)
    model.load_state_dict(weights(tmp_path / 'w' / 'epoch_1.pth'), strict=True)


def test_config_inside_a_package(
    train: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    said = refused(train, capsys, 'mmseg::upernet/nothing.py')
    assert 'No config file mmseg::upernet/nothing.py' in said
    assert 'upernet_r' in said


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['--co-train', 'cosubb'], "Did you mean 'cosub'? Valid names are ["),
        (['--co-train', 'nothing.py'], "Unknown scheme 'nothing.py'"),
        (['--resume', 'nothing.pth'], 'No checkpoint file nothing.pth'),
        (
            ['--amp', '--cfg-options', 'optim_wrapper.type=ApexOptimWrapper'],
            "--amp does not go with optim_wrapper.type='ApexOptimWrapper'",
        ),
        (
            ['--cfg-options', 'custom_hooks=[dict(type=EMAHook,momentum=0.5)]'],
            'has brackets of a dict: give its keys each, such as a.b=1 a.c=2',
        ),
        (
            ['--cfg-options', "unlabelled.strong=[{'type':'Invert','prob':1}]"],
            'has brackets of a dict',
        ),
        (
            ['--co-train', 'cosub', '--cfg-options', 'runner_type=Nothing'],
            "runner_type='Nothing' cannot train by a scheme",
        ),
    ],
)
def test_refused(
    train: ModuleType,
    config: Path,
    capsys: pytest.CaptureFixture,
    argv: list[str],
    said: str,
) -> None:
    assert said in refused(train, capsys, config, *argv)


def test_missing_config(
    train: ModuleType, config: Path, capsys: pytest.CaptureFixture
) -> None:
    said = refused(train, capsys, config.parent / 'tny.py')
    assert 'No config file' in said
    assert 'there are: tiny.py' in said


def test_nonfinite_loss_keeps_the_last_checkpoint(
    train: ModuleType,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """What it names is there and whole, although only one is to be kept."""
    options = ['optim_wrapper.optimizer.type=SGD', 'optim_wrapper.optimizer.lr=1e15']
    options += ['default_hooks.checkpoint.interval=1', 'param_scheduler=None']
    options += ['default_hooks.checkpoint.max_keep_ckpts=1', 'train_cfg.max_iters=9']
    argv = ['--co-train', 'cosub', '--cfg-options', *options]
    said = refused(train, capsys, config, *argv)
    assert 'not finite at iteration' in said
    kept = [*(tmp_path / 'w').glob('iter_*.pth')]
    assert len(kept) == 1
    assert f'The last checkpoint, {kept[0]}, is intact' in said
    assert all(v.isfinite().all() for v in weights(kept[0]).values())
    # Resuming comes to the same loss of the same images.
    assert '.jpg' in said
    again = refused(train, capsys, config, '--resume', *argv)
    assert (
        again.partition(': error')[2].partition('The last')[0]
        == (said.partition(': error')[2].partition('The last')[0])
    )


def test_fast_is_the_same(train: ModuleType, config: Path, tmp_path: Path) -> None:
    logged = []
    for flag in ([], ['--fast']):
        work_dir = tmp_path / f'fast{len(flag)}'
        options = ['--cfg-options', 'scheme.drop_path_rate=0.3', 'scheme.seed=0']
        argv = [str(config), *flag, '--work-dir', str(work_dir), '--co-train', 'cosub']
        train.main([*argv, *options])
        logged.append(losses(work_dir))
        state = torch.load(work_dir / 'iter_4.pth', weights_only=False)
        assert 'FastUPerHead' not in state['meta']['cfg']
    assert logged[0] == pytest.approx(logged[1], rel=1e-4)


def test_tensorboard(train: ModuleType, config: Path, tmp_path: Path) -> None:
    """What a co-trained run logs is there, too."""
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = tmp_path / 'logged.py'
    logged.write_text(
        f"_base_ = ['{config}']\n"
        "visualizer = dict(type='SegLocalVisualizer', name='tensorboard',\n"
        "    vis_backends=[dict(type='TensorboardVisBackend')])\n"
    )
    argv = ['--co-train', 'cosub', '--cfg-options', 'scheme.drop_path_rate=0.3']
    train.main([str(logged), *argv])
    (events,) = (tmp_path / 'w').glob('*/vis_data/events*')
    log = EventAccumulator(str(events))
    log.Reload()
    scalars = log.Tags()['scalars']
    assert {'loss', 'decode.loss_co_training', 'mIoU'} <= {*scalars}
    assert len(log.Scalars('decode.loss_co_training')) == 4
