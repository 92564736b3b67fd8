#!/usr/bin/env python
"""Count parameters and FLOPs of prediction, training and co-training."""

import argparse
from collections.abc import Sequence

from mmcosub.arguments import (
    OneLineParser,
    add_common_arguments,
    add_shared_arguments,
    require_positive,
)
from mmcosub.config.co_train import list_schemes
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Count parameters and floating-point operations of a model for one '
        'image: of prediction, of a baseline training step and, with a scheme, of a '
        'co-trained step and its cost relative to the baseline. Multiplications and '
        'additions of matrix products, convolutions and attention count as one each; '
        'MMSegmentation and MMPretrain count a multiplication with its addition as '
        'one. With --fast, the faster parts are counted, by running them.'
    )
    add_shared_arguments(parser, 'config')
    add_shared_arguments(parser, '--shape')
    parser.add_argument(
        '--co-train',
        metavar='NAME_OR_FILE',
        help=f'also count co-training with this scheme: {", ".join(list_schemes())}, '
        "or a .py file (default: the config's, if it has one)",
    )
    parser.add_argument(
        '--batch-size', type=int, default=2, help='images of a step (default: 2)'
    )
    parser.add_argument(
        '--draws',
        type=int,
        default=8,
        help='co-trained steps to count, each with its own submodels (default: 8)',
    )
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_positive(args, 'batch_size', 'draws')
        cfg = load_config(args)
        cfg.fast = args.fast  # without it, count the upstream model
        import_stack_quietly()
        from mmcosub.analysis.costs import count_work
        from mmcosub.analysis.steps import image_shape

        shape = image_shape(args.shape, cfg)
        work = count_work(cfg, shape, args.batch_size, args.draws)
    print(f'Images of {shape[0]}x{shape[1]}, {work.parameters / 1e6:.2f} M parameters')
    print(f'  prediction           {work.prediction / 1e9:9.4g} GFLOPs an image')
    print(f'  baseline step        {work.plain / 1e9:9.4g} GFLOPs an image')
    if work.co_trained:
        mean = work.ratio * work.plain
        low, high = (of(work.co_trained) / work.plain for of in (min, max))
        print(
            f'  {cfg.scheme.type.rpartition(".")[2]} step'.ljust(23)
            + f'{mean / 1e9:9.4g} GFLOPs an image: {work.ratio:.2f} times baseline, '
            f'mean of {args.draws} draws ({low:.2f} to {high:.2f})'
        )


if __name__ == '__main__':
    main()
