"""From images and masks to a split, index masks and a config."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from .classes import IGNORED, Classes, make_classes
from .config import crop_size, write_config
from .images import describe_images, read_images
from .masks import Masks, convert, read_masks
from .pairs import find_pairs, split

INDEX_MASKS = 'index_masks'
_RARE = 0.01
_SHOWN = 20


def start(
    images: Path,
    masks: Path,
    out: Path,
    classes: str | None = None,
    model: str = 'upernet-swin-t',
    val: float = 0.2,
    pretrained: bool = True,
) -> Iterator[str]:
    """Look at images and masks, and write what training needs.

    Args:
        images (Path): Folder of the images.
        masks (Path): Folder of the masks.
        out (Path): Folder to write.
        classes (str, optional): Names, see :func:`make_classes`. Defaults to None.
        model (str): Name of the model. Defaults to 'upernet-swin-t'.
        val (float): Fraction for validation. Defaults to 0.2.
        pretrained (bool): Whether to start from pretrained weights. Defaults to True.

    Yields:
        str: What was found and written, line by line.

    Raises:
        ValueError: If the files cannot be trained on, naming them and the remedy.
    """
    config = out / f'{model}.py'
    lists = {name: out / f'{name}.txt' for name in ('train', 'val')}
    for path in (config, *lists.values(), out / INDEX_MASKS):
        if path.exists():
            raise ValueError(f'{path} is there already: give another --out DIR.')
    for folder in (images, masks):
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f'--out {out} is in {folder}: give a folder beside it.')
    pairs = find_pairs(images, masks)
    names = dict(zip(('train', 'val'), split(list(pairs.files), val), strict=True))
    labels = read_masks(pairs)
    looked = read_images(pairs, labels)
    yield from describe_images(pairs, looked)
    known = make_classes(labels, classes)
    same = all(known.table[value] == value for value in labels.total)
    converts = not (same and labels.plain and len(pairs.suffixes(1)) == 1)
    plain_names = len(pairs.suffixes(0)) == 1
    # Lists name images without suffix, or with it where there are several.
    listed = {
        name: name if plain_names else image for name, (image, _) in pairs.files.items()
    }
    converts |= not plain_names
    out.mkdir(parents=True, exist_ok=True)
    kind = 'colours' if labels.colours else 'values'
    yield (
        f'{len(pairs.files)} masks: {", ".join(pairs.suffixes(1))}, '
        f'{len(labels.total)} {kind}'
        + (f', written as index masks to {out / INDEX_MASKS}' * converts)
    )
    if pairs.unused:
        yield f'  {pairs.unused} more masks have no image.'
    if converts:
        convert(
            pairs,
            labels,
            known.table,
            {name: out / INDEX_MASKS / f'{listed[name]}.png' for name in pairs.files},
        )
    hint = ''
    if classes is None:
        hint = 'Name them with --classes NAME,NAME,... in this order.'
    elif labels.colours and '=' not in classes:
        pair = f'{known.names[-1]}={labels.show(known.values[-1])}'
        hint = f'Is a name at the wrong colour? Give each its own: --classes {pair},...'
    yield from _describe_classes(labels, known, names['val'], hint)
    for which, path in lists.items():
        path.write_text(''.join(f'{listed[name]}\n' for name in names[which]))
    counts = f'{len(names["train"])} to train on, {len(names["val"])} to validate'
    weights = write_config(
        config,
        model,
        known,
        looked.short_side,
        pretrained,
        dict(
            about=f'{len(pairs.files)} images, {counts}.',
            count=len(names['train']),
            images=str(images.resolve()),
            masks=str((out / INDEX_MASKS if converts else masks).resolve()),
            img_suffix=pairs.suffixes(0)[0] if plain_names else '',
            seg_map_suffix='.png' if converts else pairs.tail + pairs.suffixes(1)[0],
            train_list=str(lists['train'].resolve()),
            val_list=str(lists['val'].resolve()),
            as_stored=looked.loads_as_stored,
        ),
    )
    crop = crop_size(looked.short_side)
    yield f'Split: {counts} ({lists["train"]}, {lists["val"]})'
    yield f'Config: {config} ({model}, crops of {crop}x{crop})'
    yield from _describe_weights(weights)
    yield from _next_commands(config)


def _describe_classes(
    masks: Masks, classes: Classes, validated: list[str], hint: str
) -> Iterator[str]:
    """Say which classes there are and how frequent, and which are rare or missing."""
    total, pixels = masks.total, sum(masks.total.values())
    yield f'{len(classes.names)} classes:'
    seen = set().union(*(masks.counts[name] for name in validated))
    for number, (name, value) in enumerate(
        zip(classes.names[:_SHOWN], classes.values, strict=False)
    ):
        fraction = total[value] / pixels
        said = f'  {number} {name} = {masks.show(value)}: {fraction:.1%} of pixels'
        if not total[value]:
            said += ' (never occurs)'
        elif value not in seen:
            said += ' (not in the validation images)'
        elif fraction < _RARE:
            said += ' (rare)'
        yield said
    if len(classes.names) > _SHOWN:
        yield f'  and {len(classes.names) - _SHOWN} more'
    ignored = [v for v, number in classes.table.items() if number == IGNORED]
    if ignored := [v for v in ignored if total[v]]:
        fraction = sum(total[v] for v in ignored) / pixels
        shown = ', '.join(masks.show(v) for v in ignored)
        yield f'  no label = {shown}: {fraction:.1%} of pixels, left out'
    if hint:
        yield f'  {hint}'


def _describe_weights(weights: str | None) -> Iterator[str]:
    if weights is None:
        yield 'Weights: random. Start from pretrained ones with train --backbone FILE.'
    else:
        yield f'Weights: the first training downloads {weights}'
        yield (
            '  Without internet: download it elsewhere and give train --backbone FILE, '
            'or use init --no-pretrained (random weights, lower accuracy).'
        )


def _next_commands(config: Path) -> Iterator[str]:
    file = shlex.quote(str(config))
    plain, co_trained = (f'work_dirs/{config.stem}-{x}' for x in ('plain', 'cosub'))
    yield 'Next:'
    yield f'  mmcosub check-dataset {file}'
    yield f'  mmcosub train {file} --work-dir {plain}'
    yield f'  mmcosub train {file} --co-train cosub --work-dir {co_trained}'
    yield f'  mmcosub report {plain} {co_trained}'
    yield f'  mmcosub test {file} {co_trained}/best_mIoU_*.pth'
