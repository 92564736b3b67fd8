#!/usr/bin/env python
"""Convert a checkpoint between mmpretrain, mmseg, timm and the authors' formats.

What it is, is found out. To train from a checkpoint no conversion is needed:
tools/train.py CONFIG --backbone CHECKPOINT reads them all.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from mmcosub.stack import import_stack_quietly

TARGETS = ('mmpretrain', 'mmseg', 'timm', 'official')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('out', type=Path, help='file to write, .pth')
    parser.add_argument(
        '--to',
        choices=TARGETS,
        default='mmpretrain',
        help='mmpretrain: a classifier; mmseg: the backbone of a segmentor; timm; '
        "official: the architecture's authors (default: mmpretrain)",
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUT')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='open a checkpoint that brings Python objects, which could run any code',
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.out.exists() and not args.overwrite:
        parser.error(f'{args.out} is there already: pass --overwrite to replace it.')
    if not args.out.parent.is_dir():
        parser.error(f'There is no folder {args.out.parent} to write into.')
    import_stack_quietly()
    from mmcosub.checkpoints import convert_checkpoint

    try:
        state, source, target = convert_checkpoint(
            args.checkpoint, args.to, args.trust_checkpoint
        )
    except ValueError as error:
        parser.error(str(error))
    # As each code base has it in its own files.
    content: dict = state
    if args.to in ('mmpretrain', 'mmseg'):
        content = dict(meta=dict(converted_from=args.checkpoint), state_dict=state)
    elif args.to == 'official':
        content = dict(model=state)
    partial = args.out.with_name(f'.{args.out.name}.part')
    torch.save(content, partial)
    os.replace(partial, args.out)
    print(f'{source} -> {target}: {len(state)} weights in {args.out}')


if __name__ == '__main__':
    main()
