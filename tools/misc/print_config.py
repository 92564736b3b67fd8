#!/usr/bin/env python
"""Print a config as it is trained: bases, scheme and options put together."""

import argparse
from collections.abc import Sequence

from mmcosub.arguments import OneLineParser, add_common_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    parser.add_argument('config', help='config file, or PACKAGE::FILE')
    parser.add_argument(
        '--co-train', metavar='NAME_OR_FILE', help='as tools/train.py --co-train'
    )
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        print(load_config(args).pretty_text)


if __name__ == '__main__':
    main()
