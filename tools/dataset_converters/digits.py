#!/usr/bin/env python
"""Write pictures of handwritten digits as an image folder, one folder per digit.

They look like the digit scenes, and the same handwritten digits are for training.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from mmcosub.stack import import_stack_quietly

SETTINGS = 'digits.json'


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('data/digits'))
    parser.add_argument('--size', type=int, default=32, help='height, width in pixels')
    parser.add_argument(
        '--copies',
        type=int,
        default=8,
        help='pictures of each digit of training; of one of validation there is one',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--overwrite', action='store_true', help='replace pictures of other settings'
    )
    return parser


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture whole or not at all."""
    partial = path.with_name(f'.{path.name}')
    partial.write_bytes(cv2.imencode('.png', image)[1].tobytes())
    os.replace(partial, path)


def check_settings(args: argparse.Namespace) -> dict:
    """What the pictures are made from, if the folder is free for them.

    Raises:
        ValueError: If an argument is out of range or there are other pictures already.
    """
    if args.copies < 1 or args.size < 16 or args.seed < 0:
        raise ValueError(
            '--copies must be at least 1, --size at least 16, --seed at least 0.'
        )
    settings = dict(size=args.size, copies=args.copies, seed=args.seed)
    record = args.out / SETTINGS
    if record.is_file():
        there = json.loads(record.read_text())
        if there['settings'] != settings and not args.overwrite:
            raise ValueError(
                f'{args.out} has pictures of other settings, {there["settings"]}. Pass '
                '--overwrite to replace them, or another --out.'
            )
    elif args.out.is_dir() and any(args.out.iterdir()) and not args.overwrite:
        raise ValueError(
            f'{args.out} is not empty and has no {SETTINGS}. Pass --overwrite to write '
            'into it, or another --out.'
        )
    return settings


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        settings = check_settings(args)
    except ValueError as error:
        parser.error(str(error))
    record = args.out / SETTINGS
    wanted = json.dumps(dict(settings=settings, complete=True), indent=2) + '\n'
    if record.is_file() and record.read_text() == wanted:
        print(f'{args.out} is ready: each digit of training {args.copies} times.')
        return

    import_stack_quietly()
    from mmcosub.datasets.digit_scenes import make_digit, split_digits

    args.out.mkdir(parents=True, exist_ok=True)
    same = record.is_file() and json.loads(record.read_text())['settings'] == settings
    unfinished = dict(settings=settings, complete=False)
    record.write_text(json.dumps(unfinished, indent=2) + '\n')
    counts = []
    for part, glyphs in split_digits().items():
        copies = args.copies if part == 'training' else 1
        tasks = [(d, i) for d in range(10) for i in range(len(glyphs[d]) * copies)]
        counts.append(len(tasks))
        for digit in range(10):
            folder = args.out / part / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            for old in [] if same else folder.glob('*.png'):
                old.unlink()
        for digit, i in track(tasks, description=f'{part} digits'):
            path = args.out / part / str(digit) / f'{i:05d}.png'
            if path.is_file():
                continue  # from a run that was cut short
            rng = np.random.default_rng((args.seed, part == 'training', digit, i))
            write(path, make_digit(glyphs[digit][i // copies], args.size, rng))
    record.write_text(wanted)
    print(f'Wrote {counts[0]} + {counts[1]} digits to {args.out}.')


if __name__ == '__main__':
    main()
