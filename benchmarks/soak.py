"""A long run, with its memory, open files, processes and speed as it goes."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from .fault_settings import SETTINGS, Setting, arguments
from .kills import losses, tail
from .processes import kill, start


def soak(iterations: int, points: int = 20) -> dict:
    """Train a tiny segmentor by cosub, with two workers and validations.

    Args:
        iterations (int): Length of the training.
        points (int): How many points of the curve to keep. Defaults to 20.

    Returns:
        dict: Exit status; by iteration the loss, the resident memory in MB of all
        processes, open files of the main one, number of processes.
    """
    root = Path(tempfile.mkdtemp(prefix='soak-'))
    usual = SETTINGS['workers']
    options = {
        'default_hooks.checkpoint.interval': 50,
        'default_hooks.checkpoint.max_keep_ckpts': 2,
        'train_cfg.val_interval': 200,
    }
    setting = Setting(usual.argv, {**usual.options, **options})
    work_dir, log = root / 'w', root / 'log'
    argv = [*arguments(setting, root, iterations), '--work-dir', str(work_dir)]
    processes = start('train.py', argv, log)
    curve: list[dict] = []
    every = max(iterations // points, 1)
    began = time.monotonic()
    while processes[0].exitcode is None:
        time.sleep(0.2)
        done = losses(work_dir)
        now = max(done, default=0)
        if now >= every * (len(curve) + 1):
            loss = dict(next(iter(done[now])))['loss']
            curve.append(
                dict(
                    iteration=now,
                    seconds=round(time.monotonic() - began, 1),
                    loss=round(loss, 4),
                    **_watched(processes[0].pid),
                )
            )
    status = processes[0].exitcode
    kill(processes)
    left = sorted(p.name for p in work_dir.glob('*.pth'))
    result = dict(status=status, checkpoints_left=left, curve=curve)
    if status:
        result['said'] = tail(log)
    shutil.rmtree(root)
    return result


def _watched(process: int) -> dict[str, float]:
    family = [process, *_children(process)]
    memory = sum(_resident(each) for each in family)
    try:
        files = len(os.listdir(f'/proc/{process}/fd'))
    except OSError:  # it has just ended
        files = 0
    return dict(memory_mb=round(memory, 1), open_files=files, processes=len(family))


def _children(process: int) -> list[int]:
    try:
        text = Path(f'/proc/{process}/task/{process}/children').read_text()
    except OSError:
        return []
    found = [int(each) for each in text.split()]
    return found + [inner for each in found for inner in _children(each)]


def _resident(process: int) -> float:
    """Memory of a process alone, with its share of what it shares, in MB."""
    try:
        for line in Path(f'/proc/{process}/smaps_rollup').read_text().splitlines():
            if line.startswith('Pss:'):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
