#!/usr/bin/env python
"""Export a model to ONNX, TorchScript or PyTorch's pt2, and check its outputs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import (
    OneLineParser,
    add_config_arguments,
    add_shared_arguments,
)
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly

FORMATS = ('onnx', 'torchscript', 'pt2')


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Write a model to a file that runs without MMSegmentation and '
        'MMPretrain: from an image to the class of each pixel at its size, or to the '
        'probabilities of a classifier. Outputs are compared with the model, and a '
        'page beside the file documents its input and output.'
    )
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument('--format', choices=FORMATS, required=True)
    parser.add_argument(
        '--out',
        type=Path,
        metavar='FILE',
        help="file to write (default: the checkpoint's name, in this folder)",
    )
    parser.add_argument(
        '--dynamic',
        nargs='?',
        const='all',
        choices=('batch', 'all'),
        help='leave the number of images open (batch), or their size, too (all, also '
        'without a value); default: one image of --shape',
    )
    parser.add_argument(
        '--with-preprocessing',
        action='store_true',
        help='include normalisation, so that the file takes the values of image files',
    )
    add_shared_arguments(parser, '--shape')
    add_config_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_file(args.checkpoint)
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.analysis.steps import evaluation_shape
        from mmcosub.engine.prediction import load_model
        from mmcosub.export import SUFFIXES, export
        from mmcosub.export.card import write_card

        suffix = SUFFIXES[args.format]
        out = args.out or Path(Path(args.checkpoint).stem + suffix)
        if out.suffix != suffix:
            raise ValueError(f'--out {out}: files of {args.format} end in {suffix}.')
        if out.exists() and out.samefile(args.checkpoint):
            raise ValueError(f'{out} is the checkpoint: give another name with --out.')
        shape = evaluation_shape(cfg, args.shape)
        model = load_model(cfg, args.checkpoint, 'cpu')
        exported = export(
            model, out, args.format, shape, args.dynamic, args.with_preprocessing
        )
        card = write_card(exported)
    print(f'Wrote {out} and {card}. Parity: {exported.parity}.')


if __name__ == '__main__':
    main()
