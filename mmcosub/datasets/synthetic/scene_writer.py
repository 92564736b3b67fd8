"""Command line and files of synthetic scenes, in ADE20K's layout."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import track

from .made_folder import MadeFolder
from .scenes import Image, Layout

MakeScene = Callable[
    [list[Image], int, np.random.Generator, Layout], tuple[Image, Image]
]
PARTS = {'training': 'train', 'validation': 'val', 'test': 'test'}
KINDS = ('images', 'annotations')


def add_scene_arguments(
    parser: argparse.ArgumentParser, out: str, layout: Layout, **counts: int
) -> None:
    """Add the arguments of a script that writes scenes.

    Args:
        parser (ArgumentParser): Parser to add them to.
        out (str): Default folder to write to.
        layout (Layout): Default layout.
        **counts (int): Defaults of ``--train``, ``--val`` and ``--test``, the number of
            scenes, and of ``--size``, their height and width in pixels.
    """
    add = parser.add_argument
    add('--out', type=Path, default=Path(out))
    for part, option in PARTS.items():
        add(f'--{option}', type=int, default=counts[option], help=f'{part} scenes')
    add('--size', type=int, default=counts['size'], help='height, width in pixels')
    pair = ('MIN', 'MAX')
    add(
        '--items',
        type=int,
        nargs=2,
        metavar=pair,
        default=layout.items,
        help='how many items are in a scene',
    )
    add(
        '--scale',
        type=float,
        nargs=2,
        metavar=pair,
        default=layout.scale,
        help="their height, as a fraction of the scene's",
    )
    add('--angle', type=float, default=layout.angle, help='largest turn in degrees')
    add(
        '--overlap',
        type=float,
        default=layout.overlap,
        help='largest fraction of an item that may overlap another; 1 for any',
    )
    add('--seed', type=int, default=0)
    add('--overwrite', action='store_true', help='replace scenes of other settings')


def write_scenes(
    args: argparse.Namespace,
    record: str,
    smallest: int,
    read: Callable[[], dict[str, list[Image]]],
    make: MakeScene,
) -> None:
    """Write the scenes that a command line asks for.

    Args:
        args (Namespace): The command line.
        record (str): Name of the settings file in the folder.
        smallest (int): Minimum height of an item in pixels.
        read (Callable): Returns the items by part and class.
        make (Callable): Returns a scene.

    Raises:
        ValueError: If an argument is out of range, there are scenes of other settings,
            or the items cannot be read.
    """
    counts = {part: getattr(args, option) for part, option in PARTS.items()}
    if args.train < 1 or min(counts.values()) < 0 or args.seed < 0:
        raise ValueError(
            '--train must be at least 1, and --val, --test and --seed at least 0.'
        )
    layout = Layout(tuple(args.items), tuple(args.scale), args.angle, args.overlap)
    layout.check_size(args.size, smallest)
    apart = ('out', 'overwrite', 'source')
    settings = {k: v for k, v in vars(args).items() if k not in apart}
    folder = MadeFolder(args.out, record, settings, args.overwrite)
    total = ' + '.join(str(count) for count in counts.values() if count)
    if folder.ready:
        print(f'{args.out} is ready: {total} scenes.')
        return
    items = read()
    folder.begin([f'{kind}/{part}' for kind in KINDS for part in PARTS])
    for number, (part, count) in enumerate(counts.items()):
        for i in track(range(count), f'{part} scenes', disable=not count):

            def scene(part: str = part, key: tuple = (args.seed, number, i)) -> tuple:
                return make(items[part], args.size, np.random.default_rng(key), layout)

            folder.save([f'{kind}/{part}/{i:05d}.png' for kind in KINDS], scene)
    folder.finish()
    print(f'Wrote {total} scenes to {args.out}.')
