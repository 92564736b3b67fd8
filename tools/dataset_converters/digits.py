#!/usr/bin/env python
"""Write pictures of handwritten digits as an image folder, one folder per digit.

They look like the digit scenes, with the same split of the handwritten digits.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from mmcosub.arguments import OneLineParser, add_shared_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('data/digits'))
    parser.add_argument('--size', type=int, default=32, help='height, width in pixels')
    parser.add_argument(
        '--copies',
        type=int,
        default=8,
        help='pictures of each training digit; validation digits have one each',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--overwrite', action='store_true', help='replace pictures of other settings'
    )
    add_shared_arguments(parser, '--debug')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        write(args)


def write(args: argparse.Namespace) -> None:
    """Write what the command line asks for.

    Raises:
        ValueError: If an argument is out of range, or there are pictures of other
            settings.
    """
    if args.copies < 1 or args.size < 16 or args.seed < 0:
        raise ValueError(
            '--copies must be at least 1, --size at least 16, --seed at least 0.'
        )
    import_stack_quietly()
    from mmcosub.analysis.pictures import write_picture
    from mmcosub.datasets.digit_scenes import make_digit, split_digits
    from mmcosub.datasets.made_folder import begin_folder, end_folder

    settings = dict(size=args.size, copies=args.copies, seed=args.seed)
    record, parts = args.out / 'digits.json', split_digits()
    folders = [f'{part}/{digit}' for part in parts for digit in range(10)]
    if not begin_folder(record, settings, folders, args.overwrite):
        print(f'{args.out} is ready: each digit of training {args.copies} times.')
        return
    counts = []
    for number, (part, glyphs) in enumerate(parts.items()):
        copies = args.copies if part == 'training' else 1
        tasks = [(d, i) for d in range(10) for i in range(len(glyphs[d]) * copies)]
        counts.append(len(tasks))
        for digit, i in track(tasks, description=f'{part} digits'):
            rng = np.random.default_rng((args.seed, number, digit, i))
            image = make_digit(glyphs[digit][i // copies], args.size, rng)
            write_picture(args.out / f'{part}/{digit}/{i:05d}.png', image)
    end_folder(record, settings)
    print(f'Wrote {counts[0]} + {counts[1]} digits to {args.out}.')


if __name__ == '__main__':
    main()
