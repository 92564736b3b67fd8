"""Checks of the folders and files that datasets name."""

import os
from collections import Counter
from pathlib import Path

from mmseg.datasets import BaseSegDataset


def check_list(path: str) -> None:
    """Refuse a list of samples with blank lines, which would be samples without name.

    Args:
        path (str): Text file with one sample in a line. One that is not there, or of
            another kind, passes.

    Raises:
        ValueError: If a line is blank, or the first begins with a byte order mark.
    """
    if not path.endswith('.txt') or not Path(path).is_file():
        return
    lines = Path(path).read_text().split('\n')
    if lines[0].startswith('\ufeff'):
        raise ValueError(
            f'{path} begins with a byte order mark (BOM), which would be part of the '
            'first name: save it as UTF-8 without BOM.'
        )
    if not lines[-1]:
        lines.pop()  # after the last line's end
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if blank:
        raise ValueError(
            f'{path} has blank lines: line {", ".join(map(str, blank[:5]))}. Take them '
            'out.'
        )


def check_links(folder: str) -> None:
    """Refuse links to a folder that they are in: the search would go round.

    Args:
        folder (str): Folder of images.

    Raises:
        ValueError: If there is such a link.
    """
    for parent, inner, _ in os.walk(folder):
        for name in inner:
            path = os.path.join(parent, name)
            if os.path.islink(path):
                target, here = os.path.realpath(path), os.path.realpath(parent)
                if os.path.commonpath([target, here]) == target:
                    raise ValueError(
                        f'{path} is a link to a folder that it is in, so the same '
                        'images would be found again and again. Delete the link.'
                    )


def _check_folders(dataset: BaseSegDataset) -> None:
    listed = dataset.ann_file
    if listed and not Path(listed).exists():
        raise FileNotFoundError(
            f'There is no ann_file {listed}. Mend its name, or leave ann_file out to '
            'take every image of the folder.'
        )
    for what, key in (('img_path', 'img_suffix'), ('seg_map_path', 'seg_map_suffix')):
        suffix = getattr(dataset, key)
        folder = dataset.data_prefix.get(what)
        if not folder:
            continue
        mend = (
            f'Set data_root (now {dataset.data_root!r}) and data_prefix.{what}, or '
            'prepare the data (docs/data.md).'
        )
        if not Path(folder).is_dir():
            raise FileNotFoundError(f'There is no folder {folder}. {mend}')
        check_links(folder)
        # Into links, as mmseg looks. Path.rglob follows none.
        files = (names for _, _, names in os.walk(folder, followlinks=True))
        if not any(name.endswith(suffix) for names in files for name in names):
            other = _usual_ending(folder)
            there = f', but *{other}, for {key}={other!r}' if other else ''
            raise FileNotFoundError(f'{folder} has no file *{suffix}{there}. {mend}')


def _usual_ending(folder: str) -> str:
    """Ending of most files in a folder, '' if there are none."""
    files = (names for _, _, names in os.walk(folder, followlinks=True))
    endings = Counter(Path(name).suffix for names in files for name in names)
    return max(endings, key=lambda ending: endings[ending], default='')


def _lists_folders(dataset: BaseSegDataset) -> bool:
    """Whether it lists the files of its folders, as mmseg does."""
    return type(dataset).load_data_list is BaseSegDataset.load_data_list


def check_found(dataset: BaseSegDataset) -> None:
    """Refuse a dataset that finds no image, and list those that it finds.

    Args:
        dataset (BaseSegDataset): The dataset, not yet listed if it can be.

    Raises:
        FileNotFoundError: If a folder is missing or empty.
        ValueError: If the dataset is empty, or its list has blank lines.
    """
    if _lists_folders(dataset):
        if dataset.ann_file:
            check_list(dataset.ann_file)
        _check_folders(dataset)
    if not dataset._fully_initialized:
        dataset.serialize_data = False  # it cannot serialize an empty list
        dataset.full_init()
    if len(dataset) == 0:
        where = dataset.ann_file or dataset.data_prefix.get('img_path')
        raise ValueError(
            f'{type(dataset).__name__} is empty: {where} names no image, or `indices` '
            'leaves none.'
        )


def check_files(dataset: BaseSegDataset) -> None:
    """Refuse a dataset of which an image or a label is missing.

    Args:
        dataset (BaseSegDataset): The dataset, listed. One that lists its samples in a
            way of its own passes: they may lie in an archive.

    Raises:
        FileNotFoundError: If a file is missing.
    """
    if not _lists_folders(dataset):
        return
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    # Images that were found in the folder are there; those of a list may not be.
    kinds = [('img_path', 'image')] if dataset.ann_file else []
    for key, what in (*kinds, ('seg_map_path', 'label')):
        paths = (info.get(key) for info in infos)
        missing = [path for path in paths if path and not Path(path).is_file()]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(dataset)} samples have no {what}; the first '
                f'to be missing is {missing[0]}. Add the files or take the samples out.'
            )
