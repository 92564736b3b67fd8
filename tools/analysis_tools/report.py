#!/usr/bin/env python
"""Write an HTML page about training runs: curves, classes, images, settings."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import (
    OneLineParser,
    OptionsAction,
    add_shared_arguments,
)
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Write one self-contained HTML page about training runs: logged '
        'values, origin and, with --run-config, predictions of their checkpoints on '
        'the validation data. Several runs share the same figures. CSV files '
        'beside the page have the table of runs and all logged values.'
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
    parser.add_argument(
        '--run-config',
        action='store_true',
        help='build models and data from the configs of the runs, which can execute '
        'code, and add predictions: confusion matrix and images',
    )
    parser.add_argument(
        '--checkpoint',
        choices=('best', 'last'),
        default='best',
        help='checkpoint to predict with (default: best, or the last one if none was '
        'saved as the best)',
    )
    parser.add_argument(
        '--images',
        type=int,
        metavar='NUMBER',
        help='validation images to predict, evenly spread (default: all)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='settings that have changed since, such as the place of the data: '
        'val_dataloader.dataset.data_root=FOLDER',
    )
    add_shared_arguments(parser, '--trust-checkpoint', '--debug')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    given = (args.images, args.cfg_options, args.trust_checkpoint or None)
    if not args.run_config and (given != (None,) * 3 or args.checkpoint != 'best'):
        parser.error(
            '--images, --cfg-options, --checkpoint and --trust-checkpoint are for '
            'predictions: add --run-config'
        )
    with explained_errors(parser.prog, args.debug):
        import_stack_quietly()
        from mmcosub.report import make_report

        out = args.out or args.work_dirs[0] / 'report.html'
        make_report(
            args.work_dirs,
            out,
            run_config=args.run_config,
            checkpoint=args.checkpoint,
            images=args.images,
            options=args.cfg_options,
            trust=args.trust_checkpoint,
        )
        size = out.stat().st_size / 2**20
        print(f'Wrote {out}, {size:.1f} MiB, and CSV files beside it.')
        if not args.run_config:
            print('Without predictions: --run-config adds them, of runs you trust.')


if __name__ == '__main__':
    main()
