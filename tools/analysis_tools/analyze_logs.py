#!/usr/bin/env python
"""Draw curves of runs, or tell the time of their iterations, by MMPretrain's tool."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.utils import get_installed_path

from mmcosub.cli.main import load
from mmcosub.engine.errors import explained_errors


def newest_log(path: str) -> str:
    """The log of scalars that a path means: of a work directory, the newest run's.

    Args:
        path (str): A log, ``.json``, or a work directory.

    Raises:
        ValueError: If there is none.
    """
    if Path(path).is_file():
        if not path.endswith('.json'):
            raise ValueError(f'{path} is no log of scalars: these end in .json.')
        return path
    # The runs in a work directory are named by when they began.
    logs = sorted(Path(path).glob('*/vis_data/scalars.json'))
    if not logs:
        raise ValueError(
            f'There is no {path}/*/vis_data/scalars.json. Name the work directory of a '
            'run that has trained, or its log.'
        )
    return str(logs[-1])


def main(argv: Sequence[str] | None = None) -> None:
    if argv is not None:
        sys.argv = [sys.argv[0], *argv]
    tools = Path(get_installed_path('mmpretrain'), '.mim', 'tools')
    stock = load(tools / 'analysis_tools' / 'analyze_logs.py')
    args = stock.parse_args()
    with explained_errors(Path(sys.argv[0]).name):
        if args.task is None:
            raise ValueError('Say what to do: plot_curve or cal_train_time.')
        args.json_logs = [newest_log(path) for path in args.json_logs]
        logs = [stock.load_json_log(path) for path in args.json_logs]
        empty = [
            p for p, log in zip(args.json_logs, logs, strict=True) if not log['train']
        ]
        if empty:
            raise ValueError(f'{empty[0]} has no line of training yet.')
        draw = args.task == 'plot_curve'
        (stock.plot_curve if draw else stock.cal_train_time)(logs, args)


if __name__ == '__main__':
    main()
