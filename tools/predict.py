#!/usr/bin/env python
"""Predict images, folders or patterns, without labels, and write files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import (
    OneLineParser,
    add_config_arguments,
    add_shared_arguments,
    require_positive,
)
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Predict images without labels. A segmentor writes masks of class '
        'numbers, with the values of label files, to OUT/masks; a classifier writes '
        'OUT/predictions.csv.'
    )
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument(
        'images',
        nargs='+',
        help="image files, folders (nested), or patterns such as 'photos/**/*.jpg'",
    )
    parser.add_argument(
        '--out', type=Path, required=True, metavar='DIR', help='folder to write to'
    )
    parser.add_argument(
        '--overlay',
        action='store_true',
        help='also write pictures of the classes over the images, with a legend',
    )
    parser.add_argument(
        '--probabilities',
        action='store_true',
        help='also write probabilities, (classes, height, width) in float16 as .npz; '
        'for a classifier one column for each class',
    )
    parser.add_argument(
        '--uncertainty',
        action='store_true',
        help='also write the entropy: grey pictures, white where all classes are '
        'equally likely; for a classifier a column, from 0 to 1',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        help='images of one size to predict at once (default: 1)',
    )
    add_shared_arguments(parser, '--device')
    add_config_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_positive(args, 'batch_size')
        require_file(args.checkpoint)
        cfg = load_config(args)
        import_stack_quietly()
        from rich.console import Console
        from rich.progress import track

        from mmcosub.analysis.prediction_files import PredictionFiles, find_images
        from mmcosub.engine.prediction import image_suffixes, load_model

        images = find_images(args.images, args.out, image_suffixes(cfg))
        model = load_model(cfg, args.checkpoint, args.device)
        kinds = ('overlay', 'probabilities', 'uncertainty')
        wanted = [kind for kind in kinds if getattr(args, kind)]
        files = PredictionFiles(model, args.out, wanted)
        done = files.predict(images, args.batch_size)
        for _ in track(done, 'images', len(images), console=Console(stderr=True)):
            pass
        print(f'{len(files.rows)} images predicted, in {args.out}')
        if files.odd:
            print(files.odd, file=sys.stderr)
        for each in files.failed:
            print(f'not predicted: {each}', file=sys.stderr)
        if files.failed:
            raise ValueError(
                f'{len(files.failed)} of {len(images)} images could not be predicted '
                '(named above).'
            )


if __name__ == '__main__':
    main()
