#!/usr/bin/env python
"""Read all images and label maps of a dataset, and list problems."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS, init_default_scope
from rich.progress import track

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.config.model_settings import last_head
from mmcosub.stack import import_stack_quietly

FOUND = 1
"""Exit status if data are bad."""


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Read every image and label map of a dataset, as training would, '
        'in parallel. List truncated images, and label maps of another size than their '
        'image, of more than 8 bits, with values that no class has, or without any '
        'label. Report which classes never occur.'
    )
    add_shared_arguments(parser, 'config')
    parser.add_argument(
        '--splits',
        nargs='+',
        choices=('train', 'val', 'test'),
        default=['train', 'val'],
        help='splits to read (default: train val)',
    )
    parser.add_argument(
        '--processes',
        type=int,
        default=os.cpu_count() or 1,
        help='number of parallel processes (default: one per core)',
    )
    parser.add_argument(
        '--unlabelled',
        metavar='DIR',
        help="folder or list of unlabelled images to read, too (default: the config's)",
    )
    add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        if args.processes < 1:
            raise ValueError(f'--processes {args.processes} must be 1 or more.')
        cfg = load_config(args)
        import_stack_quietly()
        init_default_scope(cfg.get('default_scope') or 'mmseg')
        ignore = last_head(cfg).get('ignore_index', 255)
        total = sum(check(cfg, split, args.processes, ignore) for split in args.splits)
        if cfg.get('unlabelled'):
            total += check_unlabelled(cfg)
    if total:
        sys.exit(FOUND)


def check(cfg: Any, split: str, processes: int, ignore_index: int) -> int:
    """Check one split, and return the number of its bad samples."""
    from mmcosub.datasets.checks import check_listing, check_places
    from mmcosub.datasets.guard import leaves
    from mmcosub.datasets.image_files import explain_turned
    from mmcosub.datasets.inspection import Inspected, inspect
    from mmcosub.datasets.labels import few_classes

    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        print(f'{split}: the config has no {split}_dataloader')
        return 0
    check_places(loader.dataset)
    check_listing(loader.dataset)
    problems: list[str] = []
    count = unusable = 0
    for dataset in leaves(DATASETS.build(loader.dataset)):
        dataset.full_init()
        inspected = Inspected(dataset, ignore_index)
        each_inspected = inspect(inspected, processes)
        found = [*track(each_inspected, total=len(dataset), description=split)]
        problems += [each.problem for each in found if each.problem]
        count += len(dataset)
        counts = sum(each.counts for each in found)
        if counts.any():
            few, said = few_classes(counts), inspected.describe(counts)
            which = 'all' if few else f'in {len(dataset)}'
            print(f'{split}: {which} label maps {said}')
            unusable += few and split == 'train'
        if turned := [each.turned for each in found if each.turned]:
            print(f'{split}: {explain_turned(turned, len(dataset))}')
    report(cfg, split, problems, count, quiet=bool(unusable))
    return len(problems) + unusable


def check_unlabelled(cfg: Any) -> int:
    """Check the unlabelled images, and return the number of bad ones."""
    from mmcosub.datasets.guard import leaves
    from mmcosub.datasets.inspection import inspect_unlabelled
    from mmcosub.datasets.unlabelled import find_images

    files = find_images(cfg.unlabelled.get('data_root'))
    labelled: list[str] = []
    if cfg.get('train_dataloader'):
        for dataset in leaves(DATASETS.build(cfg.train_dataloader.dataset)):
            infos = (dataset.get_data_info(i) for i in range(len(dataset)))
            labelled += [info['img_path'] for info in infos if 'img_path' in info]
    said, problems = inspect_unlabelled(files, labelled)
    print(f'unlabelled: {said}')
    report(cfg, 'unlabelled', problems, len(files))
    return len(problems)


def report(
    cfg: Any, name: str, problems: list[str], count: int, quiet: bool = False
) -> None:
    """Print problems, and write them to a file in the work directory."""
    listed = Path(cfg.work_dir, f'bad_{name}.txt')
    problems = [' '.join(problem.split()) for problem in problems]
    if problems:
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(''.join(f'{problem}\n' for problem in problems))
        print(f'{name}: {len(problems)} of {count} samples are bad, listed in {listed}')
        for problem in problems[:5]:
            print(f'  {problem}')
        return
    listed.unlink(missing_ok=True)  # of an earlier check
    if not quiet:
        print(f'{name}: {count} samples, none is bad')


if __name__ == '__main__':
    main()
