#!/usr/bin/env python
"""Print a config as it is trained: with its bases, scheme and options."""

import argparse
from collections.abc import Sequence

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    add_shared_arguments(parser, 'config', '--co-train')
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        print(load_config(args).pretty_text)


if __name__ == '__main__':
    main()
