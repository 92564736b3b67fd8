"""Runs that are killed again and again, and compared with unbroken ones."""

import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from mmcosub.checkpoints import read_checkpoint

from .fault_settings import Setting, arguments
from .processes import finish, kill, start

HANGS_AFTER = 300.0
"""Seconds after which a run of a few iterations is taken to hang."""


@dataclass
class Killed:
    """What became of a run that was killed.

    Args:
        kills (int): How often it was.
        while_saving (int): How many of these while a checkpoint was being written.
        lost (int): Times that no whole checkpoint was left although one had been there.
        hangs (int): Times that a run did not end.
        failed (list[str]): What was said by runs that ended otherwise than they should.
        differs (list[str]): In what the end differs from an unbroken run's.
    """

    kills: int = 0
    while_saving: int = 0
    lost: int = 0
    hangs: int = 0
    failed: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing was lost."""
        return not (self.lost or self.hangs or self.failed or self.differs)

    def as_dict(self) -> dict:
        """For a record."""
        return asdict(self)


def unbroken(setting: Setting, root: Path) -> float:
    """Train without a break in ``root/whole``; the seconds that it took.

    Args:
        setting (Setting): The setting.
        root (Path): Folder of data, configs and work directories.
    """
    began = time.monotonic()
    argv = [*arguments(setting, root), '--work-dir', str(root / 'whole')]
    log = root / 'whole.log'
    statuses = finish(start('train.py', argv, log, setting.ranks), HANGS_AFTER)
    if any(statuses):
        raise RuntimeError(f'The unbroken run ended with {statuses}: {tail(log)}')
    return time.monotonic() - began


def broken(
    setting: Setting, root: Path, kills: int, seconds: float, seed: int
) -> Killed:
    """Train in ``root/broken``, killed at random moments and resumed each time.

    Every other kill waits until a checkpoint is being written.

    Args:
        setting (Setting): The setting.
        root (Path): Folder of data, configs and work directories; the unbroken run is
            there.
        kills (int): How often to kill. The run may be over before.
        seconds (float): How long an unbroken run takes.
        seed (int): Of the random moments.
    """
    rng, result = random.Random(seed), Killed()
    work_dir, log = root / 'broken', root / 'broken.log'
    argv = [*arguments(setting, root), '--work-dir', str(work_dir), '--resume']
    while result.kills < kills:
        processes = start('train.py', argv, log, setting.ranks)
        saving = result.kills % 2 == 1
        if saving:
            _wait_for_writing(work_dir, 2 * seconds, processes)
        else:
            _wait(rng.uniform(0.1, 0.7) * seconds, processes)
        if all(p.exitcode is not None for p in processes):
            statuses = finish(processes, 1.0)
            if any(statuses):
                result.failed.append(f'{statuses}: {tail(log)}')
                return result
            _begin_again(work_dir)
            continue
        kill(processes)
        result.kills += 1
        result.while_saving += bool([*work_dir.glob('*.partial')])
        result.lost += _none_is_whole(work_dir)
    statuses = finish(start('train.py', argv, log, setting.ranks), HANGS_AFTER)
    if None in statuses:
        result.hangs += 1
    elif any(statuses):
        result.failed.append(f'{statuses}: {tail(log)}')
    else:
        result.differs = compare(root / 'whole', work_dir)
    return result


def compare(whole: Path, other: Path) -> list[str]:
    """In what two runs differ: weights, optimizer, averages, every logged loss.

    Args:
        whole (Path): Work directory of the unbroken run.
        other (Path): That of the other.
    """
    found = []
    states = [_flat(read_checkpoint(_last(each))) for each in (whole, other)]
    for key in sorted(states[0].keys() | states[1].keys()):
        a, b = (state.get(key) for state in states)
        same = a is not None and b is not None and torch.equal(a, b)
        if not same:
            found.append(f'{key} differs')
    expected, given = losses(whole), losses(other)
    for step in sorted(expected.keys() | given.keys()):
        if given.get(step, set()) != expected.get(step):
            found.append(f'losses of iteration {step}: {given.get(step)}')
    return found[:8]


def losses(work_dir: Path) -> dict[int, set[tuple]]:
    """All losses that the runs in a work directory logged, by iteration.

    Args:
        work_dir (Path): The folder.
    """
    found: dict[int, set[tuple]] = {}
    for log in work_dir.glob('*/vis_data/scalars.json'):
        for line in log.read_text().splitlines():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:  # the last line of a killed run
                continue
            terms = tuple((k, v) for k, v in sorted(values.items()) if 'loss' in k)
            if terms:
                found.setdefault(values['step'], set()).add(terms)
    return found


def tail(log: Path) -> str:
    """The end of a log, in one line.

    Args:
        log (Path): The file.
    """
    return ' '.join(log.read_text().split())[-600:] if log.is_file() else ''


def _flat(value: object, prefix: str = '') -> dict[str, torch.Tensor]:
    """Tensors and numbers of a checkpoint that a resumed run must share."""
    flat: dict[str, torch.Tensor] = {}
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {prefix: torch.tensor(value, dtype=torch.float64)}
    if isinstance(value, dict):
        skipped = ('meta', 'message_hub')
        items: Sequence = [(k, v) for k, v in value.items() if k not in skipped]
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        return {}
    for key, inner in items:
        flat.update(_flat(inner, f'{prefix}.{key}'))
    return flat


def _last(work_dir: Path) -> str:
    return (work_dir / 'last_checkpoint').read_text()


def _none_is_whole(work_dir: Path) -> bool:
    """Whether checkpoints are there, or have been, and none can be opened."""
    there = [p for p in work_dir.glob('*.pth') if not p.name.startswith('best_')]
    for path in there:
        try:
            read_checkpoint(str(path))
        except ValueError:
            continue
        return False
    return bool(there) or (work_dir / 'last_checkpoint').is_file()


def _begin_again(work_dir: Path) -> None:
    """A run that is over: take its checkpoints away, and kill it anew."""
    for path in [*work_dir.glob('*.pth'), work_dir / 'last_checkpoint']:
        path.unlink(missing_ok=True)


def _wait(seconds: float, processes: Sequence) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(p.exitcode is None for p in processes):
        time.sleep(0.01)


def _wait_for_writing(work_dir: Path, seconds: float, processes: Sequence) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if work_dir.is_dir():
            with os.scandir(work_dir) as entries:
                if any(entry.name.endswith('.partial') for entry in entries):
                    return
        if not any(p.is_alive() for p in processes):
            return
        time.sleep(0.0005)
