#!/usr/bin/env python
"""Time prediction or training steps on random images."""

import argparse
from collections.abc import Sequence

import torch
from torch.utils.benchmark import Timer

from mmcosub.arguments import (
    OneLineParser,
    add_common_arguments,
    add_shared_arguments,
    require_positive,
)
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Time prediction of a model, from images in memory to classes, or '
        'with --train a training step, forward and backward. Prints median and '
        'quartiles over repetitions. Weights are random.'
    )
    add_shared_arguments(parser, 'config')
    parser.add_argument(
        '--train',
        action='store_true',
        help="time a training step, with the config's scheme if it has one",
    )
    add_shared_arguments(parser, '--co-train')
    add_shared_arguments(parser, '--shape')
    parser.add_argument(
        '--batch-size', type=int, help='images (default: 1; 2 with --train)'
    )
    parser.add_argument(
        '--repeat-times', type=int, default=10, help='repetitions (default: 10)'
    )
    add_shared_arguments(parser, '--device')
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        if args.co_train and not args.train:
            raise ValueError('--co-train is about training: give --train, too.')
        if args.batch_size is None:
            args.batch_size = 2 if args.train else 1
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.analysis.steps import (
            build_model,
            image_shape,
            predicting_step,
            random_batch,
            training_step,
        )
        from mmcosub.engine.prediction import device_of

        require_positive(args, 'batch_size', 'repeat_times')
        shape = image_shape(args.shape, cfg)
        scheme = cfg.get('scheme') if args.train else None
        device = device_of(args.device)
        model = build_model(cfg, scheme).to(device).train(args.train)
        batch = random_batch(model, shape, args.batch_size)
        timer = Timer(
            'step(model, batch)',
            globals=dict(
                step=training_step if args.train else predicting_step,
                model=model,
                batch=batch,
            ),
            num_threads=torch.get_num_threads(),
        )
        timer.timeit(1)  # once: choose kernels, fill caches
        times = torch.tensor([timer.timeit(1).median for _ in range(args.repeat_times)])
    low, middle, high = (1000 * times.quantile(q).item() for q in (0.25, 0.5, 0.75))
    what = 'a training step' if args.train else 'predicting'
    by = f' by {scheme.type.rpartition(".")[2]}' if scheme else ''
    print(
        f'{what}{by}, {args.batch_size} x {shape[0]}x{shape[1]} on {device}: '
        f'{middle:.1f} ms ({low:.1f} to {high:.1f}), '
        f'{1000 * args.batch_size / middle:.2f} images/s'
    )
    if device.startswith('cuda'):
        peak = torch.cuda.max_memory_allocated(device) / 2**30
        print(f'peak memory: {peak:.2f} GiB')


if __name__ == '__main__':
    main()
