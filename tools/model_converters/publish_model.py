#!/usr/bin/env python
"""Write only the weights of a checkpoint, with their hash in the name."""

import argparse
from collections.abc import Sequence

from mmcosub.arguments import OneLineParser, add_debug_argument
from mmcosub.checkpoints.publishing import publish
from mmcosub.config.errors import explained_errors


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    parser.add_argument('in_file', help='checkpoint of a run')
    parser.add_argument('out_file', help='NAME.pth, which becomes NAME-HASH.pth')
    parser.add_argument(
        '--no-ema',
        action='store_true',
        help='for a run with EMAHook: the trained weights instead of their average',
    )
    add_debug_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        print(f'Wrote {publish(args.in_file, args.out_file, not args.no_ema)}')


if __name__ == '__main__':
    main()
