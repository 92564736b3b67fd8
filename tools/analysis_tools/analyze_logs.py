#!/usr/bin/env python
"""Plot logged values of runs, or print iteration times, with MMPretrain's tool."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.utils import get_installed_path

from mmcosub.cli.main import load
from mmcosub.config.errors import explained_errors
from mmcosub.report.records import read_records


def read_log(path: str, load_json_log: Callable[[str], dict]) -> dict:
    """Return lists of records, 'train' and 'val', of a log or a work directory.

    Resumed parts of a run are joined. MMPretrain's function reads a single log.
    """
    if Path(path).is_file():
        if not path.endswith('.json'):
            raise ValueError(f'{path} is no log of scalars: these end in .json.')
        return load_json_log(path)
    joined = read_records(Path(path), metric_by_epoch=True)  # as MMEngine's default
    return {
        'train': [record for _, record in joined.train],
        'val': [record for _, record in joined.val],
    }


def main(argv: Sequence[str] | None = None) -> None:
    if argv is not None:
        sys.argv = [sys.argv[0], *argv]
    tools = Path(get_installed_path('mmpretrain'), '.mim', 'tools')
    stock = load(tools / 'analysis_tools' / 'analyze_logs.py')
    args = stock.parse_args()
    with explained_errors(Path(sys.argv[0]).name):
        if args.task is None:
            raise ValueError('Say what to do: plot_curve or cal_train_time.')
        logs = [read_log(path, stock.load_json_log) for path in args.json_logs]
        empty = [
            p for p, log in zip(args.json_logs, logs, strict=True) if not log['train']
        ]
        if empty:
            raise ValueError(f'{empty[0]} has no line of training yet.')
        draw = args.task == 'plot_curve'
        if draw and not args.legend:  # upstream's is 'scalars' for every run
            args.legend = [
                f'{path} {key}' for path in args.json_logs for key in args.keys
            ]
        (stock.plot_curve if draw else stock.cal_train_time)(logs, args)


if __name__ == '__main__':
    main()
