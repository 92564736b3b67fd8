#!/usr/bin/env python
"""Write an HTML page about training runs: curves, classes, images, settings."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import OneLineParser, add_shared_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Write one self-contained HTML page about training runs: logged '
        'values and origin. Several runs share the same figures. CSV files beside the '
        'page have the table of runs and all logged values. No file of a run is '
        'executed.'
    )
    parser.add_argument(
        'work_dirs',
        nargs='+',
        type=Path,
        metavar='WORK_DIR',
        help='work directory of a training',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='the page (default: report.html in the first work directory)',
    )
    add_shared_arguments(parser, '--debug')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        import_stack_quietly()
        from mmcosub.report import make_report

        out = args.out or args.work_dirs[0] / 'report.html'
        make_report(args.work_dirs, out)
        size = out.stat().st_size / 2**20
        print(f'Wrote {out}, {size:.1f} MiB, and CSV files beside it.')


if __name__ == '__main__':
    main()
