"""The launch scripts: two real processes, and the command that Slurm would get."""

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from launch import free_port, run
from stock import segmentation_config, write_config
from tiny import segmentor_config

from benchmarks.kills import losses, tail
from benchmarks.processes import finish, start

without_gpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason='would need two GPUs'
)


def prints_arguments(program: Path) -> str:
    """Make a program that prints what it is given; return its path."""
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\n')
    program.chmod(0o755)
    return str(program)


def test_two_processes(config: Path, tmp_path: Path) -> None:
    """They train as one run, which a third iteration resumes."""
    log = tmp_path / 'log'
    options = ['train_cfg.max_iters=2', 'model.decode_head.norm_cfg.type=SyncBN']
    argv = [str(config), '--co-train', 'cosub', '--cfg-options', *options]
    assert finish(start('train.py', argv, log, ranks=2), 120) == [0, 0], tail(log)
    said = log.read_text()
    assert 'Environment of 2 processes' in said
    assert 'mIoU' in said
    assert (tmp_path / 'w' / 'iter_2.pth').is_file()
    assert not [*(tmp_path / 'w').rglob('collected.tmp')]
    argv[-2:] = ['train_cfg.max_iters=3', options[1], '--resume']
    assert finish(start('train.py', argv, log, ranks=2), 120) == [0, 0], tail(log)
    assert 'continue with the BatchNorm statistics of process 0' in log.read_text()


@pytest.mark.parametrize(
    ('script', 'argv', 'tool'),
    [
        ('dist_train.sh', ['a.py', '2', '--amp'], 'train.py a.py'),
        ('dist_test.sh', ['a.py', 'b.pth', '2', '--amp'], 'test.py a.py b.pth'),
    ],
)
def test_command(tmp_path: Path, script: str, argv: list[str], tool: str) -> None:
    python = prints_arguments(tmp_path / 'python')
    done = run(script, *argv, '--cfg-options', 'a=b c', PYTHON=python, NNODES=3)
    assert done.stdout.startswith('-m torch.distributed.run --nnodes=3 --node_rank=0 ')
    assert '--nproc_per_node=2 ' in done.stdout
    end = f'/tools/{tool} --launcher pytorch --amp --cfg-options a=b c\n'
    assert done.stdout.endswith(end)


@without_gpu
@pytest.mark.slow
def test_train_in_two_processes(
    config: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlabelled images count; nothing is written but in the work directory."""
    here = tmp_path / 'here'
    here.mkdir()
    monkeypatch.chdir(here)
    options = ['train_cfg.max_iters=2', 'model.decode_head.norm_cfg.type=SyncBN']
    argv = [config, 2, '--co-train', 'cosub', '--unlabelled', scenes / 'images']
    argv += ['--cfg-options', *options]
    done = run('dist_train.sh', *argv, PORT=free_port())
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-6000:]
    assert 'loss_unlabelled' in dict(next(iter(losses(tmp_path / 'w')[2])))
    assert 'Environment of 2 processes' in done.stdout
    assert (tmp_path / 'w' / 'iter_2.pth').is_file()
    assert 'mIoU' in done.stdout
    assert not [*here.iterdir()]
    assert not [*(tmp_path / 'w').rglob('collected.tmp')]
    options[0] = 'train_cfg.max_iters=3'
    done = run('dist_train.sh', *argv[:-2], *options, '--resume', PORT=free_port())
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-6000:]
    assert 'continue with the BatchNorm statistics of process 0' in done.stdout


@without_gpu
@pytest.mark.slow
def test_lean_in_two_processes(config: Path, tmp_path: Path) -> None:
    # The auxiliary head is not in the last pass, and its gradient is exchanged, too.
    options = ['train_cfg.max_iters=3', 'randomness.seed=0']
    options += [f'optim_wrapper.optimizer.{each}' for each in ('type=SGD', 'lr=0.01')]
    saved = []
    for lean in (True, False):
        argv = [config, 2, '--co-train', 'augpath', '--work-dir', tmp_path / f'{lean}']
        argv += ['--cfg-options', *options, f'scheme.lean={lean}']
        done = run('dist_train.sh', *argv, PORT=free_port())
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-6000:]
        file = tmp_path / f'{lean}' / 'iter_3.pth'
        saved.append(torch.load(file, weights_only=False)['state_dict'])
    torch.testing.assert_close(*saved, rtol=1e-4, atol=1e-5)


@without_gpu
@pytest.mark.slow
def test_compiled_in_two_processes(scenes: Path, tmp_path: Path) -> None:
    """Compiled parts inside DDP, behind recomputation, give the same weights."""
    saved = []
    for name, more in (('plain', []), ('compiled', ['compile.backend=aot_eager'])):
        cfg = segmentation_config(scenes)
        cfg.update(model=segmentor_config('mmpretrain ViT'), work_dir=str(tmp_path))
        cfg['activation_checkpointing'] = ['backbone.layers.2']
        # AdamW would make much of the rounding of gradients near 0.
        cfg['optim_wrapper']['optimizer'] = dict(type='SGD', lr=0.01)
        path = write_config(tmp_path / f'{name}.py', cfg)
        options = ['train_cfg.max_iters=3', 'randomness.seed=0', *more]
        work = ['--work-dir', tmp_path / name]
        argv = [path, 2, *work, '--co-train', 'cosub', '--cfg-options', *options]
        done = run('dist_train.sh', *argv, PORT=free_port())
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-6000:]
        assert ('torch.compile compiles' in done.stdout) == bool(more)
        file = tmp_path / name / 'iter_3.pth'
        saved.append(torch.load(file, weights_only=False)['state_dict'])
    torch.testing.assert_close(*saved, rtol=1e-4, atol=1e-5)


@without_gpu
@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['cosub', 'augpath'])
def test_uneven_last_batch(scenes: Path, tmp_path: Path, scheme: str) -> None:
    """Seven images for two processes in batches of three: three, then one of each."""
    cfg = segmentation_config(scenes)
    train_loader = cfg['train_dataloader']
    train_loader.update(
        batch_size=3,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(train_loader['dataset'], indices=7),
    )
    cfg.update(
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
        work_dir=str(tmp_path / 'w'),
    )
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    # BatchNorm over one image and one pixel is refused by PyTorch.
    cfg['model']['decode_head']['norm_cfg'] = dict(type='GN', num_groups=2)
    path = write_config(tmp_path / 'epochs.py', cfg)
    done = run('dist_train.sh', path, 2, '--co-train', scheme, PORT=free_port())
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-6000:]
    logged = losses(tmp_path / 'w')
    assert set(logged) == {1, 2, 3, 4}
    values = {v for terms in logged.values() for term in terms for _, v in term}
    assert np.isfinite([*values]).all()


@without_gpu
@pytest.mark.slow
def test_test_in_two_processes(train: ModuleType, config: Path, tmp_path: Path) -> None:
    train.main([str(config), '--cfg-options', 'train_cfg.max_iters=2'])
    argv = [
        config,
        tmp_path / 'w' / 'iter_2.pth',
        2,
        '--tta',
        '--out',
        tmp_path / 'out',
        '--show-dir',
        tmp_path / 'show',
    ]
    done = run('dist_test.sh', *argv, PORT=free_port())
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-6000:]
    assert 'no pictures of the images of the others' in done.stdout + done.stderr
    assert 'mIoU' in done.stdout
    assert len([*(tmp_path / 'out').glob('*.png')]) == 4


@pytest.mark.parametrize(
    ('script', 'argv', 'tool'),
    [
        ('slurm_train.sh', ['gpu', 'job', 'a.py'], 'train.py a.py'),
        ('slurm_test.sh', ['gpu', 'job', 'a.py', 'b.pth'], 'test.py a.py b.pth'),
    ],
)
def test_slurm(tmp_path: Path, script: str, argv: list[str], tool: str) -> None:
    prints_arguments(tmp_path / 'srun')
    path = f'{tmp_path}:{os.environ["PATH"]}'
    extra = {'GPUS': 4, 'SRUN_ARGS': '--time=1:00 --exclusive', 'PATH': path}
    said = run(script, *argv, '--cfg-options', 'a=b c', **extra).stdout
    assert '--partition=gpu --job-name=job --gres=gpu:4 --ntasks=4' in said
    assert '--time=1:00 --exclusive' in said
    assert f'{tool} --launcher slurm --cfg-options a=b c' in said


@pytest.mark.parametrize(
    'script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']
)
def test_usage(script: str) -> None:
    done = run(script)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: ')


@pytest.mark.parametrize('count', ['0', '-1', 'two', '1.5'])
@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_number_of_processes(script: str, count: str) -> None:
    done = run(script, 'a.py', *(['b.pth'] if 'test' in script else []), count)
    assert done.returncode == 2
    assert f'GPUS={count} must be a whole number of 1 or more' in done.stderr


@pytest.mark.parametrize('name', ['GPUS', 'GPUS_PER_NODE'])
@pytest.mark.parametrize('count', ['0', 'four'])
@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
def test_number_of_gpus_in_slurm(script: str, count: str, name: str) -> None:
    done = run(script, 'gpu', 'job', 'a.py', 'b.pth', **{name: count})
    assert done.returncode == 2
    assert f'{name}={count} must be a whole number of 1 or more' in done.stderr


@pytest.mark.parametrize('batch_job', [False, True])
def test_slurm_goes_on(tmp_path: Path, batch_job: bool) -> None:
    """A run that stopped with status 75 is requeued, or started again to resume."""
    said = tmp_path / 'said'
    for name, then in (
        ('srun', f'[ $(wc -l < {said}) -ge 3 ] || exit 75'),
        ('scontrol', ''),
    ):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {said}\n{then}\n')
        script.chmod(0o755)
    extra = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'WARN': 90}
    if batch_job:
        extra['SLURM_JOB_ID'] = 7
    done = run('slurm_train.sh', 'gpu', 'job', 'a.py', '--amp', **extra)
    lines = said.read_text().splitlines()
    assert '--signal=USR1@90' in lines[0]
    assert not lines[0].endswith('--resume')
    if batch_job:
        assert done.returncode == 75
        assert lines[1:] == ['scontrol requeue 7']
    else:
        assert done.returncode == 0
        assert len(lines) == 3
        assert all(line.endswith('--amp --resume') for line in lines[1:])
