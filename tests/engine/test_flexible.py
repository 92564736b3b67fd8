"""Schemes under MMEngine's strategies."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from launch import free_port, run
from mmengine.config import Config
from mmseg.registry import MODELS

from benchmarks.fault_settings import Setting, arguments
from benchmarks.kills import losses
from mmcosub.checkpoints import read_checkpoint, state_dict

STRATEGY = {
    'strategy': dict(type='SingleDeviceStrategy'),
    'env_cfg': dict(dist_cfg=dict(backend='gloo')),
    'optim_wrapper.accumulative_counts': 2,
}


def train_both(train: ModuleType, root: Path, *argv: str) -> list[dict]:
    """Losses of a run under a strategy and of one without."""
    found = []
    for name, options in (('strategy', STRATEGY), ('runner', {})):
        counts = {'optim_wrapper.accumulative_counts': 2}
        base = arguments(Setting(options={**counts, **options}), root / name, 4)
        more = ['--cfg-options', 'scheme.seed=1'] if argv else []
        train.main([*base, '--work-dir', str(root / name / 'w'), *argv, *more])
        found.append(losses(root / name / 'w'))
    return found


@pytest.mark.filterwarnings('ignore::FutureWarning', 'ignore:Detected call of')
@pytest.mark.parametrize('scheme', ['cosub', 'augpath'])
@pytest.mark.slow
def test_same_as_the_runner(train: ModuleType, tmp_path: Path, scheme: str) -> None:
    """Joint or pass by pass, with accumulated gradients: the same losses, to the bit.

    They begin with the same weights, so the first iterations are compared, and that
    later ones train at all.
    """
    strategy, runner = train_both(train, tmp_path, '--co-train', scheme)
    assert strategy.keys() == runner.keys() == {1, 2, 3, 4}
    names = {name for name, _ in next(iter(strategy[4]))}
    assert 'decode.loss_co_training' in names
    assert strategy == runner
    saved = tmp_path / 'strategy' / 'w' / 'iter_4.pth'
    config = tmp_path / 'strategy' / 'configs' / 'segmentor.py'
    model = MODELS.build(Config.fromfile(config).model)
    model.load_state_dict(state_dict(read_checkpoint(str(saved))), strict=True)


@pytest.mark.filterwarnings('ignore::FutureWarning', 'ignore:Detected call of')
@pytest.mark.parametrize('entry', ['best_ckpt', 'keep_ckpt_ids'])
@pytest.mark.sweep(every=2)
def test_nothing_that_a_checkpoint_names_is_deleted(
    entry: str, train: ModuleType, tmp_path: Path
) -> None:
    """MMEngine's own hook, which strategies go with, would delete the folder."""
    (tmp_path / 'outside').mkdir()
    hook = 'default_hooks.checkpoint.'
    saving = {f'{hook}save_best': 'mIoU', f'{hook}max_keep_ckpts': 1}
    base = arguments(Setting(options={**STRATEGY, **saving}), tmp_path, 6)
    argv = [*base, '--work-dir', str(tmp_path / 'w')]
    train.main([*argv, '--cfg-options', 'train_cfg.max_iters=3'])
    path = tmp_path / 'w' / 'iter_3.pth'
    checkpoint = torch.load(path, weights_only=False)
    said = str(tmp_path / 'outside')
    info = checkpoint['message_hub']['runtime_info']
    info.update({entry: [said] * 3 if entry == 'keep_ckpt_ids' else said})
    info.update(best_score=-1.0)
    torch.save(checkpoint, path)
    train.main([*argv, '--resume', '--cfg-options', f'{hook}filename_tmpl={{}}'])
    assert (tmp_path / 'outside').is_dir()
    assert (tmp_path / 'w' / '6').is_file()


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('scheme.lean=True', 'scheme.lean changes that step'),
        ('compile=True', 'and compile changes that step'),
    ],
)
def test_what_is_refused(
    train: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    option: str,
    message: str,
) -> None:
    base = arguments(Setting(options=STRATEGY), tmp_path, 4)
    argv = [*base, '--co-train', 'augpath', '--cfg-options', option]
    with pytest.raises(SystemExit) as exit_:
        train.main([*argv, '--work-dir', str(tmp_path / 'w')])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('scheme', ['cosub', 'augpath'])
@pytest.mark.parametrize(
    'strategy',
    [
        dict(type='DDPStrategy'),
        dict(type='FSDPStrategy', model_wrapper=dict(use_orig_params=True)),
    ],
    ids=['DDP', 'FSDP'],
)
def test_several_processes(tmp_path: Path, strategy: dict, scheme: str) -> None:
    """MMEngine's strategies of several processes need GPUs."""
    options = {
        'strategy': strategy,
        'env_cfg': dict(dist_cfg=dict(backend='nccl')),
        'optim_wrapper.accumulative_counts': 2,
    }
    config, *argv = arguments(Setting(['--co-train', scheme], options), tmp_path, 4)
    count = min(torch.cuda.device_count(), 2)
    work = ['--work-dir', tmp_path / 'w']
    done = run('dist_train.sh', config, count, *argv, *work, PORT=free_port())
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(losses(tmp_path / 'w')) == {1, 2, 3, 4}
