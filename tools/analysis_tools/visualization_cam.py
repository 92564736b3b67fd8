#!/usr/bin/env python
"""Draw a class activation map: which parts of an image a class is due to."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=f'{__doc__} Needs grad-cam.')
    parser.add_argument('img', help='image file')
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument(
        '--cam-file', type=Path, default=Path('vis_cam.png'), help='picture to write'
    )
    parser.add_argument(
        '--target-layer',
        metavar='NAME',
        help="such as backbone.stages.3.blocks.1.norm2 (default: the backbone's last "
        'norm or, with a class token, the norm before the last attention)',
    )
    parser.add_argument(
        '--category-index',
        type=int,
        metavar='N',
        help='number of the class (default: the one predicted most)',
    )
    parser.add_argument(
        '--method', default='GradCAM', help='class of grad-cam (default: GradCAM)'
    )
    add_shared_arguments(parser, '--device')
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_file(args.checkpoint)
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.analysis.cam import activation_map
        from mmcosub.analysis.pictures import check_picture_name, write_picture
        from mmcosub.engine.prediction import load_model

        check_picture_name(args.cam_file)
        model = load_model(cfg, args.checkpoint, args.device)
        picture, layer, number = activation_map(
            model, args.img, args.target_layer, args.category_index, args.method
        )
        write_picture(args.cam_file, picture)
    names = model.dataset_meta.get('classes')
    print(f'{names[number] if names else number}, at {layer}: wrote {args.cam_file}')


if __name__ == '__main__':
    main()
