"""Checks of the folders and files of datasets."""

import logging
import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from .bad_samples import BadSamples, files_of

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def images_in(folder: Path, endings: Collection[str] = IMG_EXTENSIONS) -> list[Path]:
    """Return the image files of a folder and its subfolders, sorted.

    Args:
        folder (Path): The folder.
        endings (Collection[str]): File endings, in lower case. Defaults to
            torchvision's.
    """
    return sorted(
        file
        for file in folder.rglob('*')
        if file.suffix.lower() in endings and file.is_file()
    )


def check_list(path: str) -> None:
    """Raise if a list of samples has blank lines.

    Args:
        path (str): Text file with one sample a line. Missing and other files pass.

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
    """Raise for a link to one of its own parent folders.

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


def _check_folders(dataset: BaseSegDataset, labelled: bool) -> None:
    listed = dataset.ann_file
    if listed and not Path(listed).exists():
        raise FileNotFoundError(
            f'There is no ann_file {listed}. Fix its name, or leave ann_file out to '
            'take every image of the folder.'
        )
    for what, key in (('img_path', 'img_suffix'), ('seg_map_path', 'seg_map_suffix')):
        suffix = getattr(dataset, key)
        folder = dataset.data_prefix.get(what)
        if not folder or (what == 'seg_map_path' and not labelled):
            continue
        remedy = (
            f'Set data_root (now {dataset.data_root!r}) and data_prefix.{what}, or '
            'prepare the data (docs/data.md).'
        )
        if not Path(folder).is_dir():
            raise FileNotFoundError(f'There is no folder {folder}. {remedy}')
        check_links(folder)
        # Follow links, as mmseg does; Path.rglob does not.
        walked = os.walk(folder, followlinks=True)
        files = [name for _, _, names in walked for name in names]
        others = [name for name in files if not name.endswith(suffix)]
        if len(others) == len(files):
            endings = Counter(Path(name).suffix for name in files)
            other = endings.most_common(1)[0][0] if files else ''
            there = f', but *{other}, for {key}={other!r}' if other else ''
            raise FileNotFoundError(f'{folder} has no file *{suffix}{there}. {remedy}')
        beside = folder == dataset.data_prefix.get('seg_map_path')
        if what == 'img_path' and not listed and not beside:
            _check_left_out(folder, others, suffix, len(files))


def _check_left_out(folder: str, others: list[str], suffix: str, total: int) -> None:
    """Raise if the suffix's case excludes images; report other exclusions."""
    same = [name for name in others if name.lower().endswith(suffix.lower())]
    if same:
        raise ValueError(
            f'{len(same)} of {total} files in {folder} are left out, as {same[0]}, '
            f'because img_suffix is {suffix!r}. Rename them to end in {suffix}.'
        )
    images = [name for name in others if Path(name).suffix.lower() in PICTURES]
    endings = {Path(name).suffix for name in images} - {Path(suffix).suffix}
    images = [name for name in images if Path(name).suffix in endings]
    if images:
        print_log(
            f'{len(images)} of {total} files in {folder} are left out: they end in '
            f'{", ".join(sorted(endings))}, and img_suffix is {suffix!r}.',
            'current',
            logging.WARNING,
        )


def _lists_folders(dataset: BaseSegDataset) -> bool:
    """Return True if a dataset lists its folders as mmseg does."""
    return type(dataset).load_data_list is BaseSegDataset.load_data_list


def check_found(dataset: BaseSegDataset, labelled: bool = True) -> None:
    """List a dataset's samples; raise if there are none.

    Args:
        dataset (BaseSegDataset): The dataset, preferably not yet listed.
        labelled (bool): Also require the folder of label maps. Defaults to True.

    Raises:
        FileNotFoundError: If a folder is missing or empty.
        ValueError: If the dataset is empty, its list has blank lines, or the suffix's
            case excludes images.
    """
    if _lists_folders(dataset):
        if dataset.ann_file:
            check_list(dataset.ann_file)
        _check_folders(dataset, labelled)
    if not dataset._fully_initialized:
        dataset.serialize_data = False  # it cannot serialize an empty list
        dataset.full_init()
    if len(dataset) == 0:
        where = dataset.ann_file or dataset.data_prefix.get('img_path')
        raise ValueError(
            f'{type(dataset).__name__} is empty: {where} names no image, or `indices` '
            'leaves none.'
        )


def check_files(
    dataset: BaseSegDataset, labelled: bool = True, bad: BadSamples | None = None
) -> None:
    """Raise if an image or a label map is missing.

    Args:
        dataset (BaseSegDataset): The dataset, listed. One with its own
            ``load_data_list`` passes: its files may be in an archive.
        labelled (bool): Also require label maps. Defaults to True.
        bad (BadSamples, optional): Policy for samples that lack a file. Defaults to
            None: raise.

    Raises:
        FileNotFoundError: If a file is missing; with 'skip', if all are.
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
