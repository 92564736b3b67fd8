#!/usr/bin/env python
"""Write fashion scenes: photographs of articles on grounds, in ADE20K's layout.

The articles are those of Fashion-MNIST, whose four files are to be there: on Debian and
Ubuntu, `apt-get install dataset-fashion-mnist`. Scenes of training, validation and test
have no article in common.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmcosub.arguments import OneLineParser, add_debug_argument
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly

SMALLEST = 16  # pixels of an article's height
VALIDATION = 300  # articles of each class, as in fashion_mnist.py


def main(argv: Sequence[str] | None = None) -> None:
    import_stack_quietly()
    from mmcosub.datasets.synthetic.fashion_mnist import (
        SOURCE,
        by_class,
        read_fashion_mnist,
    )
    from mmcosub.datasets.synthetic.fashion_scenes import LAYOUT, make_scene
    from mmcosub.datasets.synthetic.scene_writer import (
        add_scene_arguments,
        write_scenes,
    )

    parser = OneLineParser(description=__doc__)
    add_scene_arguments(
        parser, 'data/fashion_scenes', LAYOUT, train=2000, val=200, test=500, size=64
    )
    parser.add_argument(
        '--source', type=Path, default=SOURCE, help='folder with the four .gz files'
    )
    parser.add_argument(
        '--articles',
        type=int,
        default=0,
        help='articles of each class for training scenes, the first; 0 for all',
    )
    parser.add_argument(
        '--distractors',
        type=int,
        nargs=2,
        metavar=('MIN', 'MAX'),
        default=(2, 5),
        help='how many strokes and plain shapes are in a scene',
    )
    parser.add_argument(
        '--brightest',
        type=float,
        default=220,
        help='largest value of the ground, 0 to 255',
    )
    add_debug_argument(parser)
    args = parser.parse_args(argv)

    def read() -> dict[str, list]:
        parts = read_fashion_mnist(args.source, VALIDATION)
        articles = {part: by_class(*arrays) for part, arrays in parts.items()}
        if args.articles:
            some = [of_class[: args.articles] for of_class in articles['training']]
            articles['training'] = some
        return articles

    make = partial(make_scene, distractors=args.distractors, brightest=args.brightest)
    with explained_errors(parser.prog, args.debug):
        check_arguments(args)
        write_scenes(args, 'fashion_scenes.json', SMALLEST, read, make)


def check_arguments(args: Namespace) -> None:
    """Refuse what there are no scenes of.

    Raises:
        ValueError: If an argument is out of range.
    """
    if not 0 <= args.distractors[0] <= args.distractors[1]:
        raise ValueError(
            '--distractors must be two numbers of at least 0, the fewest first, not '
            f'{list(args.distractors)}.'
        )
    if not 0 <= args.brightest <= 255:
        raise ValueError(f'--brightest must be from 0 to 255, not {args.brightest:g}.')
    if not 32 <= args.size <= 512:
        raise ValueError(f'--size must be from 32 to 512, not {args.size}.')
    if args.articles < 0:
        raise ValueError(f'--articles must be 0 for all, or more, not {args.articles}.')


if __name__ == '__main__':
    main()
