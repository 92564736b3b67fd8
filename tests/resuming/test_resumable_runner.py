"""Runs that are killed, stopped, damaged and resumed, each by really doing it."""

import json
import os
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from numbers_run import numbers_run

from benchmarks.fault_settings import SETTINGS, Setting, arguments, small_files
from benchmarks.kills import broken, compare, losses, tail, unbroken
from benchmarks.processes import finish, start
from mmcosub.checkpoints import read_checkpoint
from mmcosub.checkpoints.latest import checkpoints_in, corruption, newest_intact
from mmcosub.resuming.stopping import STATUS, Stopped

ALL_AT_ONCE = Setting(
    ['--co-train', 'cosub'],
    {
        'train_dataloader.num_workers': 2,
        'train_dataloader.persistent_workers': True,
        'optim_wrapper.accumulative_counts': 4,
        'custom_hooks': [dict(type='EMAHook', momentum=0.1)],
        'default_hooks.checkpoint.max_keep_ckpts': 1,
    },
)


# ---- killed, and resumed to the bit -----------------------------------------------


@pytest.mark.slow
def test_killed_by_iterations(tmp_path: Path) -> None:
    seconds = unbroken(ALL_AT_ONCE, tmp_path)
    result = broken(ALL_AT_ONCE, tmp_path, kills=2, seconds=seconds, seed=0)
    assert result.well, result


@pytest.mark.slow
def test_killed_by_epochs(tmp_path: Path) -> None:
    setting = SETTINGS['classifier by epochs']
    seconds = unbroken(setting, tmp_path)
    result = broken(setting, tmp_path, kills=2, seconds=seconds, seed=1)
    assert result.well, result


@pytest.mark.slow
@pytest.mark.parametrize('name', SETTINGS)
def test_killed(name: str, tmp_path: Path) -> None:
    seconds = unbroken(SETTINGS[name], tmp_path)
    result = broken(SETTINGS[name], tmp_path, kills=3, seconds=seconds, seed=2)
    assert result.well, result


@pytest.mark.slow
def test_a_difference_would_be_seen(tmp_path: Path, train: ModuleType) -> None:
    """Runs of two seeds are not the same."""
    argv = arguments(Setting(), tmp_path, iterations=4)
    for name, seed in (('whole', 3), ('other', 4)):
        options = ['--cfg-options', f'randomness.seed={seed}']
        train.main([*argv, '--work-dir', str(tmp_path / name), *options])
    found = compare(tmp_path / 'whole', tmp_path / 'other')
    assert any('differs' in each for each in found)
    assert compare(tmp_path / 'whole', tmp_path / 'whole') == []
    assert set(losses(tmp_path / 'other')) == {1, 2, 3, 4}


# ---- stopped by signals -----------------------------------------------------------


def begun(log: Path, work_dir: Path, processes: list) -> None:
    """Wait until a run has trained."""
    until = time.monotonic() + 120
    while time.monotonic() < until and not losses(work_dir):
        assert all(p.exitcode is None for p in processes), tail(log)
        time.sleep(0.02)


@pytest.fixture
def long_run(tmp_path: Path) -> Callable[..., tuple[list, Path]]:
    """Starts a run of 60 iterations that resumes if it can."""

    def begin(setting: Setting, iterations: int = 60) -> tuple[list, Path]:
        argv = arguments(setting, tmp_path, iterations)
        log, work_dir = tmp_path / 'log', tmp_path / 'w'
        argv += ['--work-dir', str(work_dir), '--resume']
        processes = start('train.py', argv, log, setting.ranks)
        begun(log, work_dir, processes)
        return processes, log

    return begin


@pytest.mark.parametrize(
    'name', ['SIGTERM', 'SIGUSR1', pytest.param('SIGINT', marks=pytest.mark.slow)]
)
@pytest.mark.sweep(every=2)
def test_signal(name: str, long_run: Callable, tmp_path: Path) -> None:
    """To the whole group, workers included, as a terminal and Slurm do."""
    setting = ALL_AT_ONCE if name != 'SIGUSR1' else SETTINGS['classifier by epochs']
    processes, log = long_run(setting)
    os.killpg(processes[0].pid, getattr(signal, name))
    assert finish(processes, 120) == [STATUS], tail(log)
    saved = checkpoints_in(tmp_path / 'w')[0]
    checkpoint = read_checkpoint(str(saved))
    said = tail(log)
    assert f'Stopped by {name} after {checkpoint["meta"]["iter"]} iterations' in said
    assert str(saved) in said
    assert '--resume' in said


def test_stopped_run_goes_on(tmp_path: Path) -> None:
    """To the bit, from the middle of an epoch and of an accumulation."""
    by_epochs = Setting(
        ['--co-train', 'cosub'], {'optim_wrapper.accumulative_counts': 3}, classify=True
    )
    unbroken(by_epochs, tmp_path)
    argv = arguments(by_epochs, tmp_path)
    work_dir, log = tmp_path / 'broken', tmp_path / 'log'
    argv += ['--work-dir', str(work_dir), '--resume']
    for _ in range(3):
        processes = start('train.py', argv, log)
        before = len(losses(work_dir))
        while len(losses(work_dir)) <= before and processes[0].is_alive():
            time.sleep(0.01)
        if processes[0].is_alive():
            os.kill(processes[0].pid, signal.SIGTERM)
        (status,) = finish(processes, 120)
        if status == 0:
            break
        assert status == STATUS, tail(log)
    else:
        assert finish(start('train.py', argv, log), 120) == [0], tail(log)
    assert compare(tmp_path / 'whole', work_dir) == []


def test_second_signal_ends_at_once(long_run: Callable, tmp_path: Path) -> None:
    processes, _ = long_run(Setting(), 5000)
    # It cannot finish an iteration while it is halted.
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGUSR1, signal.SIGCONT):
        os.kill(processes[0].pid, number)
    (status,) = finish(processes, 60)
    assert status in (-signal.SIGTERM, -signal.SIGUSR1)
    assert not [*(tmp_path / 'w').glob('*.partial')]


def test_stopped_without_checkpoints(tmp_path: Path) -> None:
    """It cannot go on, so the status is not the one that says so."""
    off = dict(checkpoint=None)
    run = numbers_run(tmp_path, batch=2, epochs=1, stop=3, default_hooks=off)
    with pytest.raises(Stopped, match=r'after 3 iterations\. Nothing was saved') as end:
        run.train()
    assert end.value.code == 128 + signal.SIGUSR1


@pytest.mark.slow
def test_stopped_ranks_go_on(tmp_path: Path) -> None:
    """Each with its own plans and its own accumulated gradients."""
    setting = SETTINGS['two ranks']
    unbroken(setting, tmp_path)
    work_dir, log = tmp_path / 'broken', tmp_path / 'log'
    argv = [*arguments(setting, tmp_path), '--work-dir', str(work_dir), '--resume']
    processes = start('train.py', argv, log, 2)
    begun(log, work_dir, processes)
    os.kill(processes[0].pid, signal.SIGTERM)
    assert finish(processes, 120) == [STATUS, STATUS], tail(log)
    assert finish(start('train.py', argv, log, 2), 200) == [0, 0], tail(log)
    assert compare(tmp_path / 'whole', work_dir) == []


@pytest.mark.slow
def test_signal_to_one_of_two_ranks(long_run: Callable, tmp_path: Path) -> None:
    processes, log = long_run(SETTINGS['two ranks'])
    os.kill(processes[1].pid, signal.SIGUSR1)
    assert finish(processes, 120) == [STATUS, STATUS], tail(log)
    assert 'Stopped by SIGUSR1' in tail(log)


def test_killed_worker(long_run: Callable, tmp_path: Path) -> None:
    """As the kernel does where memory is short."""
    (process,), log = long_run(ALL_AT_ONCE, 5000)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text()
    for child in children.split():
        os.kill(int(child), signal.SIGKILL)
    assert finish([process], 120) == [1], log.read_text()
    said = log.read_text()
    assert 'Traceback' not in said, said
    assert '/dev/shm' in said.splitlines()[-1]


@pytest.mark.slow
def test_killed_rank(long_run: Callable, tmp_path: Path) -> None:
    processes, log = long_run(SETTINGS['two ranks'], 5000)
    os.kill(processes[1].pid, signal.SIGKILL)
    assert finish(processes, 120) == [1, -signal.SIGKILL]
    said = log.read_text()
    assert 'Traceback' not in said
    assert 'Another process of the run is gone' in said.splitlines()[-1]


@pytest.mark.slow
def test_second_training_in_a_work_directory(
    long_run: Callable,
    train: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Is refused in one line; the first goes on, and its config stays."""
    processes, log = long_run(Setting(), 5000)
    before = [path.read_text() for path in (tmp_path / 'w').glob('*.py')]
    argv = [*arguments(Setting(), tmp_path), '--work-dir', str(tmp_path / 'w')]
    said = refused(capsys, train.main, argv)
    assert f'Another training uses {tmp_path / "w"}: process {processes[0].pid}' in said
    assert [path.read_text() for path in (tmp_path / 'w').glob('*.py')] == before
    os.kill(processes[0].pid, signal.SIGTERM)
    assert finish(processes, 120) == [STATUS], tail(log)


# ---- checkpoints that are whole or absent -----------------------------------------


@pytest.fixture
def trained(tmp_path: Path, train: ModuleType) -> Callable[..., Path]:
    """Trains for some iterations; the work directory."""

    def make(*options: str, iterations: int = 6) -> Path:
        argv = arguments(Setting(['--co-train', 'cosub']), tmp_path, 6)
        argv += ['--work-dir', str(tmp_path / 'w'), '--cfg-options']
        train.main([*argv, f'train_cfg.max_iters={iterations}', *options])
        return tmp_path / 'w'

    return make


def resume(train: ModuleType, tmp_path: Path, *argv: str) -> None:
    """Resume what :func:`trained` has begun."""
    base = arguments(Setting(['--co-train', 'cosub']), tmp_path, 6)
    train.main([*base, '--work-dir', str(tmp_path / 'w'), '--resume', *argv])


def refused(capsys: pytest.CaptureFixture, call: Callable, *args: object) -> str:
    """What is said, in one line, of what is refused."""
    with pytest.raises(SystemExit) as exit_:
        call(*args)
    assert exit_.value.code == 2
    lines = [each for each in capsys.readouterr().err.splitlines() if 'error:' in each]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize('what', ['empty pointer', 'cut short', 'a bit is wrong'])
@pytest.mark.sweep(every=3)
def test_damaged(
    what: str, train: ModuleType, trained: Callable, tmp_path: Path
) -> None:
    """The newest whole one is taken, and the others are named."""
    work_dir = trained()
    newest = work_dir / 'iter_6.pth'
    content = bytearray(newest.read_bytes())
    if what == 'empty pointer':
        (work_dir / 'last_checkpoint').write_text('')
    elif what == 'cut short':
        newest.write_bytes(content[: len(content) // 2])
    else:
        with zipfile.ZipFile(newest) as file:
            record = max(file.infolist(), key=lambda info: info.file_size)
            data = file.read(record)
        content[content.index(data) + len(data) // 2] ^= 1
        newest.write_bytes(content)
    passed: list[str] = []
    found = newest_intact(work_dir, passed.append)
    intact = what == 'empty pointer'
    assert found == (newest if intact else work_dir / 'iter_3.pth')
    assert [str(newest) in said for said in passed] == ([] if intact else [True])
    resume(train, tmp_path)
    assert corruption(newest) is None


def test_all_damaged(
    train: ModuleType,
    trained: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    for path in trained(iterations=3).glob('*.pth'):
        path.write_bytes(b'')
    said = refused(capsys, resume, train, tmp_path)
    assert 'None of the 1 checkpoints' in said


@pytest.mark.parametrize('pointed', ['iter_3.pth', 'iter_6.pth', None])
@pytest.mark.sweep(every=3)
def test_newest_by_iteration(
    pointed: str | None, train: ModuleType, trained: Callable, tmp_path: Path
) -> None:
    """Whatever times files have, and where a kill came before the pointer."""
    work_dir = trained()
    os.utime(work_dir / 'iter_6.pth', (0, 0))
    (work_dir / 'last_checkpoint').unlink()
    if pointed:
        (work_dir / 'last_checkpoint').write_text(str(work_dir / pointed))
    resume(train, tmp_path)
    assert 'iter_6.pth' in (work_dir / 'last_checkpoint').read_text()
    log = max((tmp_path / 'w').glob('*/*.log')).read_text()
    assert 'Saving checkpoint' not in log  # nothing was left to train


def test_full_disk(
    train: ModuleType,
    trained: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """One line with the file's name, nothing half-written, the last one whole."""
    work_dir = trained('default_hooks.checkpoint.max_keep_ckpts=1', iterations=3)
    size = (work_dir / 'iter_3.pth').stat().st_size
    with small_files(size // 2):
        said = refused(capsys, resume, train, tmp_path)
    assert f'{work_dir}/iter_6.pth: File too large' in said
    assert sorted(p.name for p in work_dir.glob('*.pth*')) == ['iter_3.pth']
    assert corruption(work_dir / 'iter_3.pth') is None
    assert (work_dir / 'last_checkpoint').read_text().endswith('iter_3.pth')


@pytest.mark.slow
def test_older_ones_go_after_the_new_one(
    trained: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a whole one at every moment, also with one to keep, also the best."""
    import mmcosub.files as writing

    whole: list[int] = []
    replace = os.replace

    def count(old: Path, new: Path) -> None:
        if str(new).endswith('.pth'):
            there = [p for p in Path(new).parent.glob('*.pth') if corruption(p) is None]
            whole.append(len(there))
        replace(old, new)

    monkeypatch.setattr(writing.os, 'replace', count)
    work_dir = trained(
        'default_hooks.checkpoint.max_keep_ckpts=1',
        'default_hooks.checkpoint.interval=1',
        'default_hooks.checkpoint.save_best=mIoU',
        'train_cfg.val_interval=2',
    )
    assert whole[0] == 0
    assert all(whole[1:])
    kept = sorted(p.name for p in work_dir.glob('*.pth'))
    assert len(kept) == 2
    assert kept[0].startswith('best_mIoU_iter_')
    assert kept[1] == 'iter_6.pth'


# ---- a resumed run is the run -----------------------------------------------------


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['scheme.weight=0.1'], 'scheme.weight was 0.5 and is 0.1'),
        (['randomness.seed=5'], 'seed was 3 and is 5'),
        (['train_dataloader.batch_size=4'], 'batch_size was 2 and is 4'),
    ],
)
@pytest.mark.sweep(every=3)
def test_another_run(
    argv: list[str],
    said: str,
    train: ModuleType,
    trained: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    trained(iterations=3)
    line = refused(capsys, resume, train, tmp_path, '--cfg-options', *argv)
    assert said in line
    assert '--allow-changes' in line
    resume(train, tmp_path, '--allow-changes', '--cfg-options', *argv)
    log = max((tmp_path / 'w').glob('*/*.log')).read_text()
    assert said in log
    assert 'not defined in message_hub' not in log


@pytest.mark.parametrize('end', [6, 9])
@pytest.mark.sweep(every=2)
def test_schedules_of_another_length(
    end: int, train: ModuleType, trained: Callable, tmp_path: Path
) -> None:
    trained(iterations=3)
    changes = [f'param_scheduler.0.end={end}', f'train_cfg.max_iters={end}']
    resume(train, tmp_path, '--cfg-options', *changes)
    log = max((tmp_path / 'w').glob('*/*.log')).read_text()
    assert ('param_scheduler.0.end was 6 and is 9' in log) == (end == 9)


@pytest.mark.slow
def test_without_its_scheme(
    train: ModuleType,
    trained: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    work_dir = trained(iterations=3)
    argv = [*arguments(Setting(), tmp_path, 6), '--work-dir', str(work_dir), '--resume']
    said = refused(capsys, train.main, argv)
    assert 'co_trained was True and is False' in said
    train.main([*argv, '--allow-changes'])
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [line for log in logs for line in log.read_text().splitlines()]
    records = [record for line in lines if 'iter' in (record := json.loads(line))]
    co_trained = {r['iter']: 'co_training' in r for r in records}
    assert co_trained == {i: i <= 3 for i in range(1, 7)}


@pytest.mark.parametrize('without', ['meta', 'optimizer', 'message_hub'])
@pytest.mark.sweep(every=3)
def test_weights_only(
    without: str,
    train: ModuleType,
    trained: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    path = trained(iterations=3) / 'iter_3.pth'
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint[without]
    torch.save(checkpoint, path)
    said = refused(capsys, resume, train, tmp_path)
    assert f'no run to resume (no {without})' in said
    assert 'load_from=' in said


def test_another_model(
    train: ModuleType,
    trained: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    trained(iterations=3)
    argv = ['--allow-changes', '--cfg-options', 'model.decode_head.channels=16']
    said = refused(capsys, resume, train, tmp_path, *argv)
    assert 'decode_head.bottleneck.bn.bias' in said
    assert 'differ in shape' in said


@pytest.mark.slow
def test_seed_of_a_run_that_has_none(tmp_path: Path) -> None:
    """It is the checkpoint's, for the order of the data, too."""
    setting = Setting(options={'randomness': dict(seed=None)})
    argv = [*arguments(setting, tmp_path), '--work-dir', str(tmp_path / 'whole')]
    log = tmp_path / 'log'
    assert finish(start('train.py', argv, log), 120) == [0], tail(log)
    first = tmp_path / 'broken' / 'iter_3.pth'
    first.parent.mkdir()
    first.write_bytes((tmp_path / 'whole' / 'iter_3.pth').read_bytes())
    argv[-1] = str(tmp_path / 'broken')
    assert finish(start('train.py', [*argv, '--resume'], log), 120) == [0], tail(log)
    found = compare(tmp_path / 'whole', tmp_path / 'broken')
    assert [f for f in found if not f.endswith(': None')] == []


def test_seed_stays_with_other_changes(tmp_path: Path) -> None:
    """Also where the config has none, so that each start would draw one."""
    first = numbers_run(tmp_path, batch=2, epochs=1)
    first.train()
    again = numbers_run(tmp_path, batch=4, epochs=2)
    again.train()
    assert again.seed == first.seed
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    assert saved['meta']['seed'] == first.seed


@pytest.mark.slow
def test_data_passed_are_not_loaded_again(
    tmp_path: Path, train: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the sampler."""
    from mmseg.datasets import BaseSegDataset

    loaded: list[int] = []
    get = BaseSegDataset.__getitem__
    for sampler in ('InfiniteSampler', 'DefaultSampler'):
        setting = Setting(options={'train_dataloader.sampler': dict(type=sampler)})
        root = tmp_path / sampler
        argv = [*arguments(setting, root, 6), '--work-dir', str(root / 'w')]
        train.main([*argv, '--cfg-options', 'train_cfg.max_iters=3'])
        with monkeypatch.context() as patch:
            patch.setattr('time.sleep', lambda _: None)  # of MMEngine, between epochs
            patch.setattr(
                BaseSegDataset,
                '__getitem__',
                lambda self, i: (loaded.append(int(i)), get(self, i))[1],
            )
            loaded.clear()
            train.main([*argv, '--resume'])
        # 4 of the validation, and one on which it is tried before.
        assert len(loaded) - 5 == 3 * 2, sampler
