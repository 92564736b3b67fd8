#!/usr/bin/env python
"""Write fashion scenes: photographs of articles on grounds, in ADE20K's layout.

The articles are those of Fashion-MNIST, whose four files are to be there: on Debian and
Ubuntu, `apt-get install dataset-fashion-mnist`. Scenes of training, validation and test
have no article in common.
"""

from collections.abc import Sequence
from pathlib import Path

from mmcosub.stack import import_stack_quietly

SMALLEST = 16  # pixels of an article's height
VALIDATION = 300  # articles of each class, as in fashion_mnist.py


def main(argv: Sequence[str] | None = None) -> None:
    import_stack_quietly()
    from mmcosub.datasets.fashion_mnist import SOURCE, by_class, read_fashion_mnist
    from mmcosub.datasets.fashion_scenes import LAYOUT, make_scene
    from mmcosub.datasets.scene_writer import scene_parser, write_scenes

    parser = scene_parser(
        __doc__, 'data/fashion_scenes', LAYOUT, train=2000, val=200, test=500, size=64
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
    args = parser.parse_args(argv)
    if not 64 <= args.size <= 512:
        parser.error(f'--size must be from 64 to 512, not {args.size}.')

    def read() -> dict[str, list]:
        parts = read_fashion_mnist(args.source, VALIDATION)
        articles = {part: by_class(*arrays) for part, arrays in parts.items()}
        if args.articles:
            some = [of_class[: args.articles] for of_class in articles['training']]
            articles['training'] = some
        return articles

    try:
        write_scenes(args, 'fashion_scenes.json', SMALLEST, read, make_scene)
    except ValueError as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
