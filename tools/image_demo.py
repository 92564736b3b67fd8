#!/usr/bin/env python
"""Predict one image and draw the prediction."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Predict one image and draw the classes over it or, for a '
        'classifier, the class and its probability.'
    )
    parser.add_argument('img', help='image file')
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument(
        '--out-file', type=Path, default=Path('prediction.png'), help='picture to write'
    )
    parser.add_argument(
        '--opacity',
        type=float,
        default=0.5,
        help='opacity of the classes, above 0 and up to 1 (default: 0.5)',
    )
    add_shared_arguments(parser, '--device')
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        if not 0 < args.opacity <= 1:
            raise ValueError(f'--opacity {args.opacity}: above 0 and up to 1.')
        require_file(args.checkpoint)
        cfg = load_config(args)
        import_stack_quietly()
        import torch

        from mmcosub.analysis.pictures import (
            check_picture_name,
            draw_prediction,
            write_picture,
        )
        from mmcosub.engine.prediction import load_model, read_image

        check_picture_name(args.out_file)
        model = load_model(cfg, args.checkpoint, args.device)
        image, batch = read_image(model, args.img)
        with torch.no_grad():
            (found,) = model.test_step(batch)
        picture, said = draw_prediction(model, found, image, args.opacity)
        write_picture(args.out_file, picture)
    print(f'{said}\nWrote {args.out_file}')


if __name__ == '__main__':
    main()
