#!/usr/bin/env python
"""Write a submodel of a checkpoint as a shallower upstream config and checkpoint.

The result needs no mmcosub and computes the same as the submodel, which is checked
before it is written. Name blocks by their numbers from 0, which --list shows, or take
a submodel of some depth from a record of submodel_sweep.py.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import OneLineParser, add_config_arguments, add_shared_arguments
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument(
        'out',
        type=Path,
        nargs='?',
        help='checkpoint to write, .pth; its config is beside it, .py',
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        '--list', action='store_true', help='print the blocks and their numbers'
    )
    which.add_argument(
        '--blocks', nargs='+', type=int, metavar='BLOCK', help='blocks to keep'
    )
    which.add_argument(
        '--drop', nargs='+', type=int, metavar='BLOCK', help='blocks to remove'
    )
    which.add_argument(
        '--record', type=Path, help='record of submodel_sweep.py; with --depth'
    )
    parser.add_argument(
        '--depth', type=int, help='number of blocks of the submodel in the record'
    )
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help="height and width of the image for the check (default: the config's)",
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUT')
    add_config_arguments(parser)
    return parser


def check_out(args: argparse.Namespace) -> None:
    """Raise ValueError for outputs that cannot or should not be written."""
    if args.list:
        return
    if args.out is None or args.out.suffix != '.pth':
        raise ValueError(f'OUT is the checkpoint to write, .pth, not {args.out}.')
    for path in (args.out, args.out.with_suffix('.py')):
        if path.exists() and not args.overwrite:
            raise ValueError(
                f'{path} is there already: pass --overwrite to replace it.'
            )
    if (args.record is None) != (args.depth is None):
        raise ValueError('--record and --depth go together: which depth of the record?')


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        check_out(args)
        require_file(args.checkpoint)
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.analysis.network import Network
        from mmcosub.analysis.steps import evaluation_shape
        from mmcosub.analysis.sweep import read_point
        from mmcosub.engine.prediction import load_model
        from mmcosub.export.extraction import extract

        model = load_model(cfg, args.checkpoint, 'cpu')
        network = Network(model, evaluation_shape(cfg, args.shape))
        if args.list:
            for number, name in enumerate(network.blocks):
                stays = '  (stays in every submodel)' * (number in network.fixed)
                print(f'{number:4d}  {name}{stays}')
            return
        kept = frozenset(args.blocks or ())
        if args.drop:
            unknown = frozenset(args.drop) - network.full
            kept = network.full - {*args.drop} | unknown  # which are refused
        if args.record:
            kept = read_point(args.record, args.depth, network.blocks)
        extracted = extract(cfg, network, kept)
        names = [network.blocks[b] for b in sorted(kept)]
        extracted.write(args.out, model.dataset_meta, names)
        print(
            f'{len(kept)} of {len(network.blocks)} blocks in {args.out}, config in '
            f"{args.out.with_suffix('.py')}. Outputs differ from the submodel's by "
            f'{extracted.difference:.1g} of their largest value.'
        )
        if extracted.left_out:
            print(f'Not in the config, as it needs mmcosub: {extracted.left_out}')


if __name__ == '__main__':
    main()
