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


def images_in(folder: Path, endings: Collection[str] = IMG_EXTENSIONS) -> list[Path]:
    """Return the image files of a folder and its subfolders, sorted.

    Linked folders are followed, as mmseg does; hidden files are left out. ``endings``
    are in lower case.
    """
    check_links(str(folder))
    return sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in endings and not name.startswith('.')
    )


def check_list(path: str) -> None:
    """Raise if a list of samples, one a line, has blank lines or a byte order mark.

    Missing files and others than ``.txt`` pass.
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
    """Raise for a link to one of its own parent folders."""
    for parent, inner, _ in os.walk(folder):
        for path in (os.path.join(parent, name) for name in inner):
            target, here = os.path.realpath(path), os.path.realpath(parent)
            if os.path.islink(path) and os.path.commonpath([target, here]) == target:
                raise ValueError(
                    f'{path} is a link to a folder that it is in, so the same '
                    'images would be found again and again. Delete the link.'
                )


def check_found(dataset: BaseSegDataset, labelled: bool = True) -> None:
    """List a dataset's samples; raise if its folders or list have none.

    Or if the suffix's case excludes some. ``labelled`` requires label maps, too.
    """
    listed = dataset.ann_file
    if _lists_folders(dataset):
        if listed:
            check_list(listed)
            if not Path(listed).exists():
                raise FileNotFoundError(
                    f'There is no ann_file {listed}. Fix its name, or leave ann_file '
                    'out to take every image of the folder.'
                )
        _check_folder(dataset, 'img_path', dataset.img_suffix, 'img_suffix')
        if labelled:
            suffix = dataset.seg_map_suffix
            _check_folder(dataset, 'seg_map_path', suffix, 'seg_map_suffix')
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


def _check_folder(dataset: BaseSegDataset, what: str, suffix: str, key: str) -> None:
    """Raise if a folder is missing, or has no file of the suffix set by ``key``."""
    folder = dataset.data_prefix.get(what)
    if not folder:
        return
    remedy = (
        f'Set data_root (now {dataset.data_root!r}) and data_prefix.{what}, or '
        'prepare the data (docs/data.md).'
    )
    if not Path(folder).is_dir():
        raise FileNotFoundError(f'There is no folder {folder}. {remedy}')
    check_links(folder)
    walked = os.walk(folder, followlinks=True)
    files = [name for _, _, names in walked for name in names]
    others = [name for name in files if not name.endswith(suffix)]
    if len(others) == len(files):
        endings = Counter(Path(name).suffix for name in files)
        other = endings.most_common(1)[0][0] if files else ''
        there = f', but *{other}, for {key}={other!r}' if other else ''
        raise FileNotFoundError(f'{folder} has no file *{suffix}{there}. {remedy}')
    beside = folder == dataset.data_prefix.get('seg_map_path')
    if what == 'img_path' and not dataset.ann_file and not beside:
        _check_left_out(folder, others, suffix, len(files))


def _check_left_out(folder: str, others: list[str], suffix: str, total: int) -> None:
    """Raise if the suffix's case excludes images; report other exclusions."""
    same = [name for name in others if name.lower().endswith(suffix.lower())]
    if same:
        raise ValueError(
            f'{len(same)} of {total} files in {folder} are left out, as {same[0]}, '
            f'because img_suffix is {suffix!r}. Rename them to end in {suffix}.'
        )
    endings = Counter(Path(name).suffix for name in others)
    del endings[Path(suffix).suffix]
    endings = Counter({e: n for e, n in endings.items() if e.lower() in IMG_EXTENSIONS})
    if endings:
        print_log(
            f'{endings.total()} of {total} files in {folder} are left out: they end in '
            f'{", ".join(sorted(endings))}, and img_suffix is {suffix!r}.',
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
