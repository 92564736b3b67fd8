#!/usr/bin/env python
"""Write digit scenes: handwritten digits on textured grounds, in ADE20K's layout."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from mmcosub.stack import import_stack_quietly

SETTINGS = 'digit_scenes.json'


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('data/digit_scenes'))
    parser.add_argument('--train', type=int, default=1000, help='training scenes')
    parser.add_argument('--val', type=int, default=100, help='validation scenes')
    parser.add_argument('--size', type=int, default=64, help='height, width in pixels')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--overwrite', action='store_true', help='replace scenes of other settings'
    )
    return parser


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture whole or not at all."""
    partial = path.with_name(f'.{path.name}')
    partial.write_bytes(cv2.imencode('.png', image)[1].tobytes())
    os.replace(partial, path)


def check_settings(args: argparse.Namespace) -> dict:
    """What the scenes are made from, if the folder is free for them.

    Raises:
        ValueError: If an argument is out of range or there are other scenes already.
    """
    if min(args.train, args.val) < 1 or args.size < 32:
        raise ValueError('--train and --val must be at least 1, --size at least 32.')
    settings = dict(train=args.train, val=args.val, size=args.size, seed=args.seed)
    record = args.out / SETTINGS
    if record.is_file():
        there = json.loads(record.read_text())
        if there['settings'] != settings and not args.overwrite:
            raise ValueError(
                f'{args.out} has scenes of other settings, {there["settings"]}. Pass '
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
        print(f'{args.out} is ready: {args.train} + {args.val} scenes.')
        return

    import_stack_quietly()
    from mmcosub.datasets.digit_scenes import make_scene, split_digits

    args.out.mkdir(parents=True, exist_ok=True)
    same = record.is_file() and json.loads(record.read_text())['settings'] == settings
    unfinished = dict(settings=settings, complete=False)
    record.write_text(json.dumps(unfinished, indent=2) + '\n')
    digits = split_digits()
    for part, count in (('training', args.train), ('validation', args.val)):
        folders = [args.out / kind / part for kind in ('images', 'annotations')]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            for old in [] if same else folder.glob('*.png'):
                old.unlink()
        for i in track(range(count), description=f'{part} scenes'):
            paths = [folder / f'{i:05d}.png' for folder in folders]
            if all(path.is_file() for path in paths):
                continue  # from a run that was cut short
            rng = np.random.default_rng((args.seed, part == 'training', i))
            scene = make_scene(digits[part], args.size, rng)
            for path, picture in zip(paths, scene, strict=True):
                write(path, picture)
    record.write_text(wanted)
    print(f'Wrote {args.train} + {args.val} scenes to {args.out}.')


if __name__ == '__main__':
    main()
