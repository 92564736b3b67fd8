#!/usr/bin/env python
"""Write digit scenes: handwritten digits on textured grounds, in ADE20K's layout."""

from collections.abc import Sequence

from mmcosub.stack import import_stack_quietly

SMALLEST = 16  # pixels of a digit's height


def main(argv: Sequence[str] | None = None) -> None:
    import_stack_quietly()
    from mmcosub.datasets.digit_scenes import LAYOUT, make_scene, split_digits
    from mmcosub.datasets.scene_writer import scene_parser, write_scenes

    parser = scene_parser(
        __doc__, 'data/digit_scenes', LAYOUT, train=1000, val=100, test=0, size=64
    )
    args = parser.parse_args(argv)
    if args.test:
        parser.error('There are no digits for test scenes. Leave --test out.')
    try:
        write_scenes(args, 'digit_scenes.json', SMALLEST, split_digits, make_scene)
    except ValueError as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
