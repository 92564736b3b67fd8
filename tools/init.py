#!/usr/bin/env python
"""Set up a project from images and masks: class list, split and config."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcosub.arguments import OneLineParser, add_shared_arguments
from mmcosub.new_project import MODELS


class ClassesParser(OneLineParser):
    """Argument parser that takes names of classes between spaces, too."""

    def parse_known_args(self, *args: Any) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Parse the arguments; return those that are left."""
        parsed, left = super().parse_known_args(*args)
        if left and parsed.classes and not any(word.startswith('-') for word in left):
            parsed.classes, left = ','.join([parsed.classes, *left]), []
        return parsed, left


def make_parser() -> argparse.ArgumentParser:
    parser = ClassesParser(
        description='Look at images and their masks, split them for training and '
        'validation, convert colour masks to index masks, and write a short config '
        'that starts from pretrained weights. Only files in --out are written.',
        epilog='Example: mmcosub init data/images data/masks --out mine '
        '--classes ground,road,water --model segformer-b0',
    )
    parser.add_argument('images', type=Path, help='folder of images')
    parser.add_argument(
        'masks',
        type=Path,
        help='folder of masks, named like the images: the number or the colour of a '
        "pixel is its class (255: no label, where numbers of classes don't reach it)",
    )
    parser.add_argument(
        '--out', type=Path, required=True, metavar='DIR', help='folder to write'
    )
    parser.add_argument(
        '--classes',
        metavar='A,B,C',
        help='names of the classes in the order of their values, or NAME=VALUE with a '
        "number or colour, such as road=#804080; 'ignore' for pixels without label; "
        "VALUE 'rest' for all others",
    )
    parser.add_argument(
        '--mask-ending',
        metavar='ENDING',
        help='what names of masks add to those of images, such as _labelIds, if there '
        'are several masks for each image',
    )
    parser.add_argument(
        '--model',
        choices=MODELS,
        default='upernet-swin-t',
        metavar='NAME',
        help=f'{", ".join(MODELS)} (default: upernet-swin-t)',
    )
    parser.add_argument(
        '--val',
        type=float,
        metavar='FRACTION',
        help='fraction of the images for validation (default: as in the folders train '
        'and val, if the images are in such, otherwise 0.2)',
    )
    parser.add_argument(
        '--no-pretrained',
        action='store_true',
        help='start from random weights: no download, and a lower accuracy',
    )
    add_shared_arguments(parser, '--debug')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)

    from mmcosub.config.errors import explained_errors
    from mmcosub.stack import import_stack_quietly

    with explained_errors(parser.prog, args.debug):
        import_stack_quietly()
        from mmcosub.new_project.start import start

        for line in start(
            args.images,
            args.masks,
            args.out,
            args.classes,
            args.model,
            args.val,
            not args.no_pretrained,
            args.mask_ending,
        ):
            print(line, flush=True)


if __name__ == '__main__':
    main()
