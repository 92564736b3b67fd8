"""Logged values of a run, with resumed parts joined.

MMEngine writes a folder for every start, named by the time, with one JSON record a line
in ``vis_data/scalars.json``. A killed and resumed run logs some iterations twice; the
last record counts.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_LOG = 'vis_data/scalars.json'
_EPOCH_LINE = re.compile(r'Epoch\(train\)\s+\[\d+\]\[\s*\d+/(\d+)\]')
_NO_METRICS = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory')


@dataclass
class Records:
    """Logged values with iterations done, and the folder of each start.

    ``epoch_length`` is None without epochs.
    """

    train: list[tuple[float, Record]] = field(default_factory=list)
    val: list[tuple[float, Record]] = field(default_factory=list)
    starts: list[Path] = field(default_factory=list)
    epoch_length: float | None = None

    @property
    def iterations(self) -> int:
        """Iterations done at the last record."""
        ends = [side[-1][0] for side in (self.train, self.val) if side]
        return round(max(ends))

    def series(self, key: str) -> list[tuple[float, float]]:
        """Return iterations and values logged as, say, ``loss`` or ``mIoU``."""
        return [
            (at, float(record[key]))
            for at, record in (*self.train, *self.val)
            if isinstance(record.get(key), int | float)
        ]

    def known(self, key: str | None) -> list[tuple[float, float]]:
        """Return the series without nan; empty if the key is None."""
        return [(at, value) for at, value in self.series(key or '') if value == value]

    def train_keys(self) -> list[str]:
        """Return names of values logged in training."""
        return list(dict.fromkeys(key for _, record in self.train for key in record))

    def metrics(self) -> list[str]:
        """Return names of metrics measured in validation."""
        found = [item for _, record in self.val for item in record.items()]
        numbers = [key for key, value in found if isinstance(value, int | float)]
        return [key for key in dict.fromkeys(numbers) if key not in _NO_METRICS]


def read_records(work_dir: Path, metric_by_epoch: bool) -> Records:
    """Read the logs of a run; ValueError if there are none.

    ``metric_by_epoch`` is the logger's ``log_metric_by_epoch``: how validations count.
    """
    files = sorted(work_dir.glob(f'*/{_LOG}'))
    if not files:
        raise ValueError(
            f'{work_dir} has no logs (*/{_LOG}): give the work directory of a training '
            "whose visualizer has dict(type='LocalVisBackend') among its vis_backends, "
            'as it has by default.'
        )
    read = [(file.parents[1], _read(file)) for file in files]
    everything = [record for _, records in read for record in records]
    if not everything:
        raise ValueError(
            f'The logs of {work_dir} are empty: the training has ended before its '
            'first record (default_hooks.logger.interval). Train for longer.'
        )
    by_epoch = any('iter' in r and 'epoch' in r for r in everything)
    length = _epoch_length(files, everything) if by_epoch else None
    joined: dict[tuple[bool, float], Record] = {}
    last = 0.0
    for _, records in read:
        new = {}
        for record in records:
            training = 'iter' in record
            at = float(record['iter'] if training else record['step'])
            if training:
                last = at
            elif metric_by_epoch:
                # An iteration-based run has no epochs: use the last iteration.
                at = at * length if length else last
            new[training, at] = record
        first = min((at for _, at in new), default=math.inf)
        joined = {key: r for key, r in joined.items() if key[1] <= first} | new
    result = Records(epoch_length=length)
    for (training, at), record in joined.items():
        (result.train if training else result.val).append((at, record))
    result.starts = [start for start, records in read if records]
    return result


def _read(file: Path) -> list[Record]:
    """Read the records of a file, without a truncated last one."""
    records = []
    for line in file.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # the run was killed while writing
        if isinstance(record, dict) and ('iter' in record or 'step' in record):
            records.append(record)
    return records


def _epoch_length(files: Sequence[Path], records: Sequence[Record]) -> float:
    """Return iterations per epoch, from the log's text or estimated."""
    for file in reversed(files):
        for log in file.parents[1].glob('*.log'):
            found = _EPOCH_LINE.search(log.read_text(errors='replace'))
            if found:
                return float(found[1])
    return max(
        r['iter'] / r['epoch'] for r in records if r.get('epoch') and 'iter' in r
    )


def logged_classes(starts: Sequence[Path]) -> dict[str, float]:
    """Return each class's IoU in percent, as mmseg's ``IoUMetric`` printed it last."""
    for start in reversed(starts):
        for log in sorted(start.glob('*.log'), reverse=True):
            tables = log.read_text(errors='replace').split('per class results:')[1:]
            if found := _iou_column(tables[-1]) if tables else {}:
                return found
    return {}


def _iou_column(text: str) -> dict[str, float]:
    """Return the column ``IoU`` of the first table in a text."""
    table = re.search(r'(?:^[+|].*\n)+', text, re.MULTILINE)
    lines = re.findall(r'^\|(.*)\|', table[0], re.MULTILINE) if table else []
    rows = [[cell.strip() for cell in line.split('|')] for line in lines]
    if not rows or 'IoU' not in rows[0]:
        return {}
    column = rows[0].index('IoU')
    return {row[0]: float(row[column]) for row in rows[1:]}
