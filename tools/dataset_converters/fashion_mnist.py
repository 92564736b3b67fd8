#!/usr/bin/env python
"""Write Fashion-MNIST as an image folder: training, validation and test.

70,000 photographs of articles of clothing, 28x28 pixels, ten classes, MIT licence. The
validation images are cut from the official training images. Nothing is downloaded: on
Debian and Ubuntu, `apt-get install dataset-fashion-mnist` brings the files.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from mmcosub.arguments import OneLineParser, add_debug_argument
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    parser.add_argument(
        '--source',
        type=Path,
        default=Path('/usr/share/datasets/fashion-mnist'),
        help='folder with the four .gz files',
    )
    parser.add_argument('--out', type=Path, default=Path('data/fashion_mnist'))
    parser.add_argument(
        '--val', type=int, default=300, help='validation images of each class'
    )
    parser.add_argument(
        '--train',
        type=int,
        default=0,
        help='training images of each class, the first ones; 0 for all',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace pictures of other settings'
    )
    add_debug_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        write(args)


def write(args: argparse.Namespace) -> None:
    """Write what the command line asks for.

    Raises:
        ValueError: If an argument is out of range, there are pictures of other
            settings, or the images cannot be read.
    """
    import_stack_quietly()
    from mmcosub.datasets.synthetic.fashion_mnist import CLASSES, read_fashion_mnist
    from mmcosub.datasets.synthetic.made_folder import MadeFolder

    if args.train < 0:
        raise ValueError(f'--train must not be negative, as {args.train} is.')
    settings = dict(val=args.val, train=args.train)
    folder = MadeFolder(args.out, 'fashion_mnist.json', settings, args.overwrite)
    if folder.ready:
        print(f'{args.out} is ready.')
        return
    parts = read_fashion_mnist(args.source, args.val)
    names = [name.replace(' ', '_') for name in CLASSES]
    folder.begin([f'{part}/{name}' for part in parts for name in names])
    for part, (images, labels) in parts.items():
        counts = dict.fromkeys(names, 0)
        most = args.train if part == 'training' and args.train else len(images)
        pairs = zip(images, labels, strict=True)
        for image, label in track(pairs, f'{part} images', total=len(images)):
            name = names[label]
            if counts[name] < most:
                path = f'{part}/{name}/{counts[name]:05d}.png'
                folder.save([path], lambda image=image: [image])  # type: ignore[misc]
                counts[name] += 1
        print(f'{part}: {sum(counts.values())} images')
    folder.finish()


if __name__ == '__main__':
    main()
