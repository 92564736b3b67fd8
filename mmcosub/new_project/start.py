"""From images and masks to a split, index masks and a config."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from .classes import IGNORED, Classes, make_classes
from .config import crop_size, write_config
from .loading import find_loading
from .masks import Masks, convert, read_masks
from .pairs import find_pairs, split, suffixes

INDEX_MASKS = 'index_masks'


def start(
    images: Path,
    masks: Path,
    out: Path,
    classes: str | None = None,
    model: str = 'upernet-swin-t',
    val: float | None = None,
    pretrained: bool = True,
    ending: str | None = None,
) -> Iterator[str]:
    """Write to ``out`` what training needs; yield what was found, line by line.

    ``classes`` are as in :func:`make_classes`, ``val`` as in :func:`split`, ``ending``
    as in :func:`find_pairs`.
    """
    config, indexed = out / f'{model}.py', out / INDEX_MASKS
    lists = {name: out / f'{name}.txt' for name in ('train', 'val')}
    for path in (config, *lists.values(), indexed):
        if path.exists():
            raise ValueError(f'{path} is there already: give another --out DIR.')
    for folder in (images, masks):
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f'--out {out} is in {folder}: give a folder beside it.')
    pairs = find_pairs(images, masks, ending)
    names = dict(zip(lists, split([*pairs.images], val), strict=True))
    labels = read_masks(pairs.masks)
    loading = find_loading(pairs)
    yield from pairs.describe()
    if loading.said:
        yield f'  They are {loading.said}.'
    known = make_classes(labels, classes)
    # Lists name images without suffix, or with it where there are several.
    of_images, of_masks = suffixes(pairs.images), suffixes(pairs.masks)
    suffix = pairs.head + of_images[0] if len(of_images) == 1 else ''
    listed = {
        n: n if suffix else f'{n}{pairs.head}{p.suffix}'
        for n, p in pairs.images.items()
    }
    same = all(known.table[value] == value for value in labels.total)
    converts = not (same and labels.plain and suffix and len(of_masks) == 1)
    kind = 'colours' if labels.colours else 'values'
    yield (
        f'{len(pairs.masks)} masks: {", ".join(of_masks)}, {len(labels.total)} {kind}'
        + f', written as index masks to {indexed}' * converts
    )
    out.mkdir(parents=True, exist_ok=True)
    if converts:
        files = {name: indexed / f'{listed[name]}.png' for name in pairs.masks}
        convert(pairs.masks, labels.colours, known.table, files)
    yield from _describe_classes(labels, known, names)
    if classes is None:
        yield '  Name them with --classes NAME,NAME,... in this order.'
    for which, path in lists.items():
        lines = ''.join(f'{listed[name]}\n' for name in names[which])
        path.write_text(lines, encoding='utf-8')
    crop = crop_size(pairs.sizes.values())
    train, val = map(len, names.values())
    said = f'{train} to train on, {val} to validate'
    if left := len(listed) - train - val:
        said += f', {left} in folders for testing'
    settings = dict(
        classes=tuple(known.names),
        palette=known.palette,
        root=str(out.resolve()),
        images=str(images.resolve()),
        masks=INDEX_MASKS if converts else str(masks.resolve()),
        img_suffix=suffix,
        seg_map_suffix='.png' if converts else pairs.tail + of_masks[0],
    )
    about = f'{len(listed)} images, {said}'
    weights = write_config(config, model, pretrained, about, crop, loading, settings)
    yield f'Split: {said} ({lists["train"]}, {lists["val"]})'
    scaled = f'images scaled to a shorter side of {crop}'
    yield f'Config: {config} ({model}, {scaled}, crops of {crop}x{crop})'
    yield from _next(config, weights)


def _describe_classes(
    masks: Masks, classes: Classes, names: dict[str, list[str]]
) -> Iterator[str]:
    """Say how frequent each class is, and which are missing in a part of the images."""
    total, pixels = masks.total, sum(masks.total.values())
    trained, validated = (
        {value for name in part for value in masks.counts[name]}
        for part in names.values()
    )
    yield f'{len(classes.names)} classes:'
    for i, name in enumerate(classes.names):
        values, remark = classes.values(i), ''
        if validated.isdisjoint(values):
            remark = ' (not in the validation images)'
        if trained.isdisjoint(values):
            remark = ' (not in the training images: it will not be learned)'
        fraction = f'{sum(total[v] for v in values) / pixels:.1%} of pixels'
        yield f'  {i} {name} = {masks.show(*values)}: {fraction}{remark}'
    if ignored := [v for v in classes.values(IGNORED) if total[v]]:
        fraction = f'{sum(total[v] for v in ignored) / pixels:.1%} of pixels'
        yield f'  no label = {masks.show(*ignored)}: {fraction}, left out'
    frequent = sum(count > pixels / 200 for count in total.values())
    if 2 * frequent < len(classes.names) > 9:
        yield (
            f'  Only {frequent} of them have more than 0.5% of the pixels. If others '
            'are blurred edges: --classes NAME=VALUE,...,ignore=rest.'
        )


def _next(config: Path, weights: str | None) -> Iterator[str]:
    """Say where the weights come from, and what to type next."""
    if weights is None:
        yield 'Weights: random. Start from pretrained ones with train --backbone FILE.'
    else:
        yield f'Weights: the first training downloads {weights}'
        yield (
            '  Without internet: download it elsewhere and give train --backbone FILE, '
            'or use init --no-pretrained (random weights, lower accuracy).'
        )
    file = shlex.quote(str(config))
    plain, co_trained = (f'work_dirs/{config.stem}-{x}' for x in ('plain', 'cosub'))
    yield 'Next:'
    yield f'  mmcosub check-dataset {file}'
    yield f'  mmcosub train {file} --work-dir {plain}'
    yield f'  mmcosub train {file} --co-train cosub --work-dir {co_trained}'
    yield f'  mmcosub report {plain} {co_trained}'
    for command, options in (('test', ''), ('export', ' --format onnx')):
        yield f'  mmcosub {command} {file} {co_trained}/best_mIoU_*.pth{options}'
