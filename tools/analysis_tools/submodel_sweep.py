#!/usr/bin/env python
"""Test submodels of checkpoints by number of blocks, and plot the result.

Blocks of the backbone are removed one after another: each time the one without which
the network is best on training images (greedy), a random one, or in a given order. Each
submodel is tested as tools/test.py tests the full network, and its FLOPs and time are
measured. Several checkpoints of one config, such as of a baseline and of cosub, can be
compared. Writes submodel_sweep.json and .png into the work directory.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from mmcosub.arguments import (
    OneLineParser,
    add_config_arguments,
    add_shared_arguments,
    add_work_dir_argument,
)
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_shared_arguments(parser, 'config')
    parser.add_argument('checkpoints', nargs='+', metavar='CHECKPOINT')
    parser.add_argument(
        '--names',
        nargs='+',
        metavar='NAME',
        help='names of the checkpoints in record and plot (default: their paths)',
    )
    parser.add_argument(
        '--orders',
        nargs='+',
        choices=('greedy', 'random', 'given'),
        help='orders of removing blocks (default: greedy random; given with --drop)',
    )
    parser.add_argument(
        '--draws', type=int, default=4, help='number of random orders (default: 4)'
    )
    parser.add_argument(
        '--drop',
        nargs='+',
        type=int,
        default=[],
        metavar='BLOCK',
        help='numbers of the blocks to remove one after another, from 0; '
        'extract_submodel.py --list shows them',
    )
    parser.add_argument(
        '--depths',
        nargs='+',
        type=int,
        metavar='BLOCKS',
        help='test only submodels of these numbers of blocks (default: all)',
    )
    parser.add_argument(
        '--extractable',
        action='store_true',
        help='only submodels that extract_submodel.py can write as an upstream config',
    )
    parser.add_argument(
        '--search',
        choices=('train', 'test'),
        default='train',
        help='images for the greedy search (default: train; results of a search on '
        'test images are too optimistic)',
    )
    parser.add_argument(
        '--search-images', type=int, default=200, help='their number (default: 200)'
    )
    parser.add_argument(
        '--images', type=int, help='number of test images, evenly spread (default: all)'
    )
    parser.add_argument('--metric', help='main metric (default: mIoU or accuracy/top1)')
    parser.add_argument(
        '--rounds',
        type=int,
        default=10,
        help='number of timings of each submodel, 0 for none (default: 10)',
    )
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help="height and width of the image for FLOPs and time (default: the config's)",
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the random orders')
    add_work_dir_argument(parser, 'the results')
    add_config_arguments(parser)
    return parser


def names_of(args: argparse.Namespace) -> list[str]:
    """Return names of the checkpoints, one for each and all different."""
    names = args.names or args.checkpoints
    if len(names) != len(args.checkpoints) or len(set(names)) < len(names):
        raise ValueError(
            f'--names {" ".join(names)}: there must be one for each of the '
            f'{len(args.checkpoints)} checkpoints, all different.'
        )
    return names


def main(argv: Sequence[str] | None = None) -> dict:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        for checkpoint in args.checkpoints:
            require_file(checkpoint)
        names = names_of(args)
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.analysis import sweep
        from mmcosub.analysis.evaluation import (
            Evaluation,
            progress_bars,
            quiet_runner,
            training_images,
        )
        from mmcosub.analysis.network import Network
        from mmcosub.analysis.steps import evaluation_shape
        from mmcosub.analysis.sweep import given_order, require_smaller
        from mmcosub.analysis.sweep_record import plot_sweep, record_of, write_json
        from mmcosub.export.extraction import extractable

        orders = args.orders or (['given'] if args.drop else ['greedy', 'random'])
        settings = sweep.Settings(
            orders, args.draws, args.drop, args.depths, args.rounds, args.seed
        )
        shape = evaluation_shape(cfg, args.shape)
        runner = quiet_runner(cfg)
        network = Network(runner.model, shape)
        why_not = network.why_not
        if args.extractable:
            why_not = extractable(cfg.model, network)
        require_smaller(network.full, why_not)
        list(given_order(network.full, why_not, settings.given))  # check it now
        test = Evaluation(runner, None, args.images, args.metric)
        images = training_images(cfg) if args.search == 'train' else None
        search = Evaluation(runner, images, args.search_images, args.metric)
        points = []
        with progress_bars() as bars:
            for name, checkpoint in zip(names, args.checkpoints, strict=True):
                runner.load_checkpoint(checkpoint)
                points += sweep.sweep(
                    network, name, settings, test, search, why_not, bars
                )
            sweep.add_costs(points, network, settings.rounds, bars)
        about = dict(
            config=args.config,
            checkpoints=dict(zip(names, args.checkpoints, strict=True)),
            images=test.images,
            search=f'{search.images} {args.search}',
            extractable=args.extractable,
            seed=args.seed,
            rounds=args.rounds,
        )
        record = record_of(points, network, str(test.metric), about)
        out = Path(cfg.work_dir, 'submodel_sweep.json')
        write_json(record, out)
        plot_sweep(record, out.with_suffix('.png'))
        report(record)
        print(f'{len(points)} submodels in {out} and {out.with_suffix(".png")}')
    return record


def report(record: dict) -> None:
    """Print the metric by number of blocks; medians where there are several."""
    from rich.console import Console
    from rich.table import Table

    found: dict[int, dict[str, list[float]]] = {}
    for point in record['points']:
        row = found.setdefault(len(point['kept']), {})
        curve = f'{point["network"]}, {point["order"]}'
        row.setdefault(curve, []).append(point['metrics'][record['metric']])
    curves = list(dict.fromkeys(curve for row in found.values() for curve in row))
    table = Table('blocks', *curves, title=record['metric'])
    for size in sorted(found, reverse=True):
        row = found[size]
        shown = [f'{median(row[c]):.4g}' if c in row else '' for c in curves]
        table.add_row(str(size), *shown)
    Console().print(table)


if __name__ == '__main__':
    main()
