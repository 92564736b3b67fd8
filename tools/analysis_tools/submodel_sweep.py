#!/usr/bin/env python
"""Find and test the best submodel of each number of blocks.

Blocks of the backbone are removed one after another, each time the one without which
the network is best on training images. Each submodel is tested as `mmcosub test` tests
the full network, and its FLOPs are counted. Writes submodel_sweep.json into the work
directory; `mmcosub extract-submodel` writes a submodel in it as an ordinary model.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import (
    OneLineParser,
    add_config_arguments,
    add_shared_arguments,
    add_work_dir_argument,
)
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.files import atomic_write
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument(
        '--extractable',
        action='store_true',
        help='only submodels that extract-submodel can write as an upstream config',
    )
    parser.add_argument(
        '--search-images',
        type=int,
        default=200,
        help='number of training images for the search (default: 200)',
    )
    parser.add_argument(
        '--images', type=int, help='number of test images, evenly spread (default: all)'
    )
    parser.add_argument('--metric', help='main metric (default: mIoU or accuracy/top1)')
    add_work_dir_argument(parser, 'the results')
    add_config_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> dict:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_file(args.checkpoint)
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.analysis.evaluation import (
            Evaluation,
            quiet_runner,
            training_images,
        )
        from mmcosub.analysis.network import Network
        from mmcosub.analysis.steps import evaluation_shape
        from mmcosub.analysis.sweep import sweep
        from mmcosub.export.extraction import extractable

        shape = evaluation_shape(cfg)
        runner = quiet_runner(cfg)
        runner.load_checkpoint(args.checkpoint)
        network = Network(runner.model, shape)
        why_not = network.why_not
        if args.extractable:
            why_not = extractable(cfg.model, network)
        test = Evaluation(runner, None, args.images, args.metric)
        images = training_images(cfg)
        search = Evaluation(runner, images, args.search_images, args.metric)
        points = sweep(network, test, search, why_not)
        record = dict(
            config=args.config,
            checkpoint=args.checkpoint,
            images=test.images,
            search_images=search.images,
            metric=test.metric,
            shape=list(network.image.shape),
            blocks=network.blocks,
            fixed=sorted(network.fixed),
            points=points,
        )
        out = Path(cfg.work_dir, 'submodel_sweep.json')
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out) as partial:
            partial.write_text(json.dumps(record, indent=1) + '\n')
    print(f'blocks  GFLOPs  {test.metric}')
    for point in points:
        metric = point['metrics'][test.metric]
        print(f'{len(point["kept"]):6d}  {point["flops"] / 1e9:6.4g}  {metric:.4g}')
    print(f'{len(points)} submodels in {out}')
    return record


if __name__ == '__main__':
    main()
