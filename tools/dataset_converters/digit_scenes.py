#!/usr/bin/env python
"""Write digit scenes: handwritten digits on textured grounds, in ADE20K's layout."""

from collections.abc import Sequence

from mmcosub.arguments import OneLineParser, add_debug_argument
from mmcosub.config.errors import explained_errors
from mmcosub.stack import import_stack_quietly

SMALLEST = 16  # pixels of a digit's height


def main(argv: Sequence[str] | None = None) -> None:
    import_stack_quietly()
    from mmcosub.datasets.synthetic.digit_scenes import LAYOUT, make_scene, split_digits
    from mmcosub.datasets.synthetic.scene_writer import (
        add_scene_arguments,
        write_scenes,
    )

    parser = OneLineParser(description=__doc__)
    add_scene_arguments(
        parser, 'data/digit_scenes', LAYOUT, train=1000, val=100, test=0, size=64
    )
    add_debug_argument(parser)
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        if args.test:
            raise ValueError('There are no digits for test scenes. Leave --test out.')
        write_scenes(args, 'digit_scenes.json', SMALLEST, split_digits, make_scene)


if __name__ == '__main__':
    main()
