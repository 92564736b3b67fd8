#!/usr/bin/env python
"""Write digit scenes: handwritten digits on textured backgrounds, as in ADE20K."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from mmcosub.arguments import OneLineParser, add_shared_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly

SMALLEST = 16  # pixels of a digit's height
PARTS = {'training': 'train', 'validation': 'val'}
KINDS = ('images', 'annotations')


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    add = parser.add_argument
    add('--out', type=Path, default=Path('data/digit_scenes'))
    add('--train', type=int, default=1000, help='training scenes')
    add('--val', type=int, default=100, help='validation scenes')
    add('--size', type=int, default=64, help='height, width in pixels')
    add(
        '--items',
        type=int,
        nargs=2,
        metavar=('MIN', 'MAX'),
        default=(1, 3),
        help='number of digits in a scene',
    )
    add(
        '--scale',
        type=float,
        nargs=2,
        metavar=('MIN', 'MAX'),
        default=(0.5, 0.8),
        help="their height, as a fraction of the scene's",
    )
    add('--seed', type=int, default=0)
    add('--overwrite', action='store_true', help='replace scenes of other settings')
    add_shared_arguments(parser, '--debug')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        check(args)
        write(args)


def check(args: argparse.Namespace) -> None:
    """Raise for arguments out of range.

    Raises:
        ValueError: If an argument is out of range.
    """
    if args.train < 1 or min(args.val, args.seed) < 0:
        raise ValueError('--train must be at least 1, and --val and --seed at least 0.')
    if not 1 <= args.items[0] <= args.items[1]:
        raise ValueError(
            f'--items must be two numbers of at least 1, the fewest first, not '
            f'{list(args.items)}.'
        )
    low = args.scale[0]
    if not 0 < low <= args.scale[1] <= 1:
        raise ValueError(
            f'--scale must be two fractions in (0, 1], the smallest first, not '
            f'{list(args.scale)}.'
        )
    if args.size * low < SMALLEST:
        raise ValueError(
            f'In a scene of --size {args.size} the smallest digit would be '
            f'{args.size * low:.0f} pixels high, and it takes {SMALLEST} to tell what '
            f'it is. Pass --size {int(np.ceil(SMALLEST / low))} or more, or a --scale '
            f'that begins above {low:g}.'
        )


def write(args: argparse.Namespace) -> None:
    """Write what the command line asks for.

    Raises:
        ValueError: If there are scenes of other settings.
    """
    import_stack_quietly()
    from mmcosub.analysis.pictures import write_picture
    from mmcosub.datasets.digit_scenes import make_scene, split_digits
    from mmcosub.datasets.made_folder import begin_folder, end_folder

    names = ('train', 'val', 'size', 'items', 'scale', 'seed')
    settings = {name: getattr(args, name) for name in names}
    record = args.out / 'digit_scenes.json'
    folders = [f'{kind}/{part}' for kind in KINDS for part in PARTS]
    total = f'{args.train} + {args.val} scenes'
    if not begin_folder(record, settings, folders, args.overwrite):
        print(f'{args.out} is ready: {total}.')
        return
    digits, shape = split_digits(), (tuple(args.items), tuple(args.scale))
    for number, (part, option) in enumerate(PARTS.items()):
        count = getattr(args, option)
        for i in track(range(count), f'{part} scenes', disable=not count):
            rng = np.random.default_rng((args.seed, number, i))
            scene = make_scene(digits[part], args.size, rng, *shape)
            for kind, image in zip(KINDS, scene, strict=True):
                write_picture(args.out / f'{kind}/{part}/{i:05d}.png', image)
    end_folder(record, settings)
    print(f'Wrote {total} to {args.out}.')


if __name__ == '__main__':
    main()
