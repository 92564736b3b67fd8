#!/usr/bin/env python
"""Test a checkpoint and draw its confusion matrix."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Test a checkpoint and draw its confusion matrix: the fraction of '
        'pixels (of images, for a classifier) of each class that is predicted as each.'
    )
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument('--out', type=Path, help='also write the numbers to this .json')
    parser.add_argument(
        '--show-path',
        type=Path,
        default=Path('confusion_matrix.png'),
        help='picture to write (default: confusion_matrix.png)',
    )
    parser.add_argument(
        '--include-values',
        action='store_true',
        help='write percentages into fields',
    )
    parser.add_argument(
        '--cmap', default='viridis', help='colour map of Matplotlib (default: viridis)'
    )
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_file(args.checkpoint)
        cfg = load_config(args)
        cfg.load_from, cfg.resume = args.checkpoint, False
        import_stack_quietly()
        from mmcosub.analysis.confusion import confusion_matrix, draw_matrix

        matrix, names = confusion_matrix(cfg)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            content = dict(classes=names, matrix=matrix.tolist())
            args.out.write_text(json.dumps(content) + '\n')
        draw_matrix(matrix, names, args.show_path, args.include_values, args.cmap)
    print(f'Wrote {args.show_path}')


if __name__ == '__main__':
    main()
