#!/usr/bin/env python
"""Convert a checkpoint to mmpretrain, mmseg or timm.

The format of the checkpoint is detected. Training from a checkpoint needs no
conversion: mmcosub train CONFIG --backbone CHECKPOINT reads all of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from mmcosub.arguments import OneLineParser, add_shared_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly

TARGETS = ('mmpretrain', 'mmseg', 'timm')


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_shared_arguments(parser, 'checkpoint')
    parser.add_argument('out', type=Path, help='file to write, .pth')
    parser.add_argument(
        '--to',
        choices=TARGETS,
        default='mmpretrain',
        help='mmpretrain: a classifier; mmseg: the backbone of a segmentor; timm '
        '(default: mmpretrain)',
    )
    parser.add_argument(
        '--weights',
        metavar='SET',
        help='weights to take from a file with several sets: ema (averaged), model '
        '(trained) or the name of a set (default: the average if there is one)',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUT')
    add_shared_arguments(parser, '--trust-checkpoint', '--debug')
    return parser


def check_out(args: argparse.Namespace) -> None:
    """Raise ValueError for an output that cannot or should not be written."""
    if args.out.suffix != '.pth':
        raise ValueError(f'OUT is the checkpoint to write, .pth, not {args.out}.')
    if args.out.exists() and not args.overwrite:
        raise ValueError(
            f'{args.out} is there already: pass --overwrite to replace it.'
        )
    if not args.out.parent.is_dir():
        raise ValueError(f'There is no folder {args.out.parent} to write into.')


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        check_out(args)
        import_stack_quietly()
        from mmcosub.checkpoints import convert_checkpoint
        from mmcosub.files import atomic_write

        state, source, target = convert_checkpoint(
            args.checkpoint, args.to, args.trust_checkpoint, args.weights
        )
        content: dict = state
        if args.to != 'timm':  # in OpenMMLab's layout
            content = dict(meta=dict(converted_from=args.checkpoint), state_dict=state)
        with atomic_write(args.out) as partial:
            torch.save(content, partial)
    print(f'{source} -> {target}: {len(state)} weights in {args.out}')


if __name__ == '__main__':
    main()
