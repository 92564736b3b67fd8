#!/usr/bin/env python
"""Draw images and labels of a segmentation dataset as training sees them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from rich.progress import track

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.names import type_name
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    add_shared_arguments(parser, 'config')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--unlabelled',
        metavar='DIR_OR_LIST',
        help='show these unlabelled images instead: weak view, strong view, and the '
        'strong one with CutMix',
    )
    parser.add_argument(
        '--number', type=int, default=20, help='number of pictures (default: 20)'
    )
    parser.add_argument(
        '--original',
        action='store_true',
        help="show the files without the pipeline's augmentation",
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/browse'))
    parser.add_argument('--show', action='store_true', help='show in a window, too')
    add_common_arguments(parser)
    return parser


def build(cfg: Config, split: str, original: bool) -> object:
    """The dataset of a split.

    Raises:
        FileNotFoundError: If a folder is missing or empty.
        ValueError: If the config has no such split, it is empty, or it is no
            segmentation dataset.
    """
    from mmcosub.datasets.checks import check_listing
    from mmcosub.engine.data import configs_of_datasets

    init_default_scope(cfg.get('default_scope', 'mmseg'))
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        raise ValueError(f'The config has no {split}_dataloader.')
    config = loader.dataset
    while 'dataset' in config and 'pipeline' not in config:
        config = config.dataset  # RepeatDataset and the like; others mix images
    if original:
        for each in configs_of_datasets(config):
            each.pipeline = [t for t in each.pipeline if loads_or_packs(t)]
    check_listing(config)
    dataset = DATASETS.build(config)
    if 'palette' not in dataset.metainfo:
        raise ValueError(f'{type(dataset).__name__} is no segmentation dataset.')
    return dataset


def draw_unlabelled(samples: list[dict], rng: np.random.Generator) -> list[np.ndarray]:
    """Weak view, strong view and strong view with CutMix of each image.

    Args:
        samples (list[dict]): From ``mmcosub.datasets.unlabelled.UnlabelledImages``.
        rng (Generator): Source of the boxes.
    """
    from mmengine.model import stack_batch

    from mmcosub.datasets.image_files import viewable
    from mmcosub.schemes.cutmix import CutMix

    views = [stack_batch([s[key] for s in samples]) for key in ('inputs', 'strong')]
    if len(samples) > 1:
        mix = CutMix.draw(len(samples), views[1].shape[2:], rng)
        views.append(mix(views[1]))
    shown = [[viewable(v.permute(1, 2, 0).numpy()) for v in view] for view in views]
    return [np.hstack(row) for row in zip(*shown, strict=True)]


def loads_or_packs(transform: dict) -> bool:
    name = type_name(transform, TRANSFORMS).rpartition('.')[2]
    return name.startswith(('Load', 'Pack'))


def draw(
    image: np.ndarray, label: np.ndarray, classes: Sequence[str], palette: np.ndarray
) -> np.ndarray:
    """Draw an image (H, W, 3), and beside it with its label (H, W) and a legend.

    The image is in BGR, the palette (C, 3) in RGB. Pixels of no class stay bare.
    """
    from mmcosub.analysis.pictures import overlay

    scale = max(1, round(320 / max(image.shape[:2])))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    image = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    drawn = overlay(image, label, palette, classes, opacity=0.65)
    below, white = len(drawn) - len(image), (255, 255, 255)
    image = cv2.copyMakeBorder(image, 0, below, 0, 4, cv2.BORDER_CONSTANT, value=white)
    return np.hstack([image, drawn])


def browse_unlabelled(cfg: Config, args: argparse.Namespace) -> int:
    from mmcosub.analysis.pictures import write_picture
    from mmcosub.engine.unlabelled import unlabelled_dataset

    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = unlabelled_dataset(cfg)
    number = min(args.number, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, number).astype(int)
    samples = [dataset[int(i)] for i in track(chosen)]
    pictures = draw_unlabelled(samples, np.random.default_rng(0))
    for i, picture in zip(chosen, pictures, strict=True):
        write_picture(args.out / f'{i:05d}_{dataset.files[i].stem}.png', picture)
    return number


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        if args.number < 1:
            raise ValueError(f'--number {args.number} must be 1 or more.')
        import_stack_quietly()
        from mmcosub.analysis.pictures import write_picture
        from mmcosub.datasets.image_files import viewable

        cfg = load_config(args)
        if cfg.get('unlabelled'):
            number = browse_unlabelled(cfg, args)
            print(f'Wrote pictures of {number} unlabelled images to {args.out}.')
            return
        dataset = build(cfg, args.split, args.original)
        classes = dataset.metainfo['classes']
        palette = np.array(dataset.metainfo['palette'], np.uint8)
        number = min(args.number, len(dataset))
        for i in track(np.linspace(0, len(dataset) - 1, number).astype(int)):
            sample = dataset[int(i)]
            image = viewable(sample['inputs'].permute(1, 2, 0).numpy())
            label = sample['data_samples'].gt_sem_seg.data[0].numpy().astype(np.uint8)
            # Behind a Resize, as in mmseg's test pipelines, the label keeps its size.
            image = cv2.resize(image, label.shape[::-1])
            picture = draw(image, label, classes, palette)
            # The number, as images of several folders may have one name.
            name = f'{i:05d}_{Path(sample["data_samples"].img_path).stem}.png'
            write_picture(args.out / name, picture)
            if args.show:
                cv2.imshow('browse', picture)
                cv2.waitKey(0)
    print(f'Wrote {number} pictures of {len(dataset)} samples to {args.out}.')


if __name__ == '__main__':
    main()
