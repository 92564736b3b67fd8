"""Folders and lists of images, and checks of those that a dataset names."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from .guard import BadSamples, files_of

PREPARE = 'or prepare the data (`mmcosub --help` lists the commands).'
"""End of a remedy for data that are not there."""


def files_in(folder: str | Path) -> Iterator[str]:
    """Yield the files of a folder and its subfolders, linked ones too, as mmseg does.

    Raises ValueError for a link to a folder that it is in.
    """
    for parent, inner, names in os.walk(folder, followlinks=True):
        for path in (Path(parent, name).absolute() for name in inner):
            if path.is_symlink() and path.resolve() in map(Path.resolve, path.parents):
                raise ValueError(
                    f'{path} is a link to a folder that it is in, so the same '
                    'images would be found again and again. Delete the link.'
                )
        yield from (os.path.join(parent, name) for name in names)


def images_in(folder: Path, endings: Collection[str] = IMG_EXTENSIONS) -> list[Path]:
    """Return the sorted images of a folder and its subfolders.

    Without hidden files and folders, such as ``.ipynb_checkpoints``.
    """
    files = map(Path, files_in(folder))
    return sorted(
        file
        for file in files
        if file.suffix.lower() in endings
        and not any(part.startswith('.') for part in file.relative_to(folder).parts)
    )


def read_list(path: str | Path) -> str:
    """Read a text file; raise a ValueError that names it if it is none."""
    try:
        return Path(path).read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is no text file in UTF-8 with one name a line.'
        ) from error


def check_list(path: str) -> None:
    """Raise if a ``.txt`` list of samples has blank lines or a byte order mark."""
    if not path.endswith('.txt') or not Path(path).is_file():
        return
    text = read_list(path)
    if text.startswith('\ufeff'):
        raise ValueError(
            f'{path} begins with a byte order mark (BOM), which would be part of the '
            'first name: save it as UTF-8 without BOM.'
        )
    lines = text.removesuffix('\n').split('\n') if text else []
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if blank:
        raise ValueError(
            f'{path} has blank lines: line {", ".join(map(str, blank[:5]))}. Take them '
            'out.'
        )


def check_found(dataset: BaseSegDataset, labelled: bool = True) -> None:
    """List a dataset's samples; raise if its folders or list have none."""
    listed = dataset.ann_file
    if _lists_folders(dataset):
        if listed and not Path(listed).exists():
            raise FileNotFoundError(
                f'There is no ann_file {listed}. Fix its name, or leave ann_file out '
                'to take every image of the folder.'
            )
        check_list(listed)
        _check_folder(dataset, 'img_path', 'img_suffix')
        if labelled:
            _check_folder(dataset, 'seg_map_path', 'seg_map_suffix')
    if not dataset._fully_initialized:
        dataset.serialize_data = False  # it cannot serialize an empty list
        dataset.full_init()
    if len(dataset) == 0:
        raise ValueError(
            f'{type(dataset).__name__} is empty: '
            f'{listed or dataset.data_prefix.get("img_path")} names no image, or '
            '`indices` leaves none.'
        )


def _lists_folders(dataset: BaseSegDataset) -> bool:
    """Return True if a dataset lists its folders as mmseg does."""
    return type(dataset).load_data_list is BaseSegDataset.load_data_list


def _check_folder(dataset: BaseSegDataset, what: str, key: str) -> None:
    """Raise if a folder is missing, or its files lack the suffix set by ``key``."""
    folder, suffix = dataset.data_prefix.get(what), getattr(dataset, key)
    if not folder:
        return
    remedy = (
        f'Set data_root (now {dataset.data_root!r}) and data_prefix.{what}, {PREPARE}'
    )
    if not Path(folder).is_dir():
        raise FileNotFoundError(f'There is no folder {folder}. {remedy}')
    files = [*map(os.path.basename, files_in(folder))]
    others = [name for name in files if not name.endswith(suffix)]
    endings = Counter(Path(name).suffix for name in others)
    if len(others) == len(files):
        other = max(endings, key=lambda ending: endings[ending], default='')
        there = f', but *{other}, for {key}={other!r}' if other else ''
        raise FileNotFoundError(f'{folder} has no file *{suffix}{there}. {remedy}')
    with_labels = folder == dataset.data_prefix.get('seg_map_path')
    if what != 'img_path' or dataset.ann_file or with_labels:
        return
    if same := [name for name in others if name.lower().endswith(suffix.lower())]:
        raise ValueError(
            f'{len(same)} of {len(files)} files in {folder} are left out, as '
            f'{same[0]}, because {key} is {suffix!r}. Rename them to end in {suffix}.'
        )
    images = {ending for ending in endings if ending.lower() in IMG_EXTENSIONS}
    if left_out := sorted(images - {Path(suffix).suffix}):
        print_log(
            f'{sum(endings[each] for each in left_out)} of {len(files)} files in '
            f'{folder} are left out: they end in {", ".join(left_out)}, and {key} is '
            f'{suffix!r}.',
            'current',
            logging.WARNING,
        )


def check_files(
    dataset: BaseSegDataset, labelled: bool = True, bad: BadSamples | None = None
) -> None:
    """Raise if an image or a label map is missing; with 'skip', only if all are.

    A dataset with its own ``load_data_list`` passes: its files may be in an archive.
    """
    if not _lists_folders(dataset):
        return
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    # Images found in the folder exist; those of a list may not.
    kinds = [('img_path', 'image')] if dataset.ann_file else []
    kinds += [('seg_map_path', 'label')] if labelled else []
    for key, what in kinds:
        lacking = [i for i in infos if i.get(key) and not Path(i[key]).is_file()]
        if bad and bad.skip and len(lacking) < len(infos):
            for info in lacking:
                bad.note(files_of(info), f'there is no {what} {info[key]}')
        elif lacking:
            raise FileNotFoundError(
                f'{len(lacking)} of {len(dataset)} samples have no {what}; the first '
                f'to be missing is {lacking[0][key]}. Add the files or take the '
                'samples out.'
            )
