"""Finding the images of an image folder, and whether a folder has changed since."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import track

# File systems keep time in steps of up to 2 s. A file added in the same step as the
# scan leaves the time of its folder as it was.
_CLOCK_STEP = 2 * 10**9


@dataclass
class Scan:
    """Images found in a folder, class after class, in the order of their names.

    Args:
        names (list[bytes]): Per class, the file names, relative to the folder, with
            nothing between them.
        lengths (list[ndarray]): Per class, the length of each name in bytes.
        record (dict): What was scanned, as JSON can hold it; for :func:`change_since`.
    """

    names: list[bytes]
    lengths: list[np.ndarray]
    record: dict[str, Any]


def class_folders(folder: str, extensions: Sequence[str]) -> list[str]:
    """Names of the class folders in a folder, sorted.

    Args:
        folder (str): The folder.
        extensions (Sequence[str]): Endings of images, in lower case.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has no class folders.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'There is no folder {folder}. Set data_root and data_prefix, or prepare '
            'the data. Images behind a remote file backend are for '
            "mmpretrain's CustomDataset."
        )
    with os.scandir(folder) as entries:
        inside = [entry for entry in entries if not entry.name.startswith('.')]
    classes = sorted(entry.name for entry in inside if entry.is_dir())
    if not classes:
        images = sum(e.name.lower().endswith(tuple(extensions)) for e in inside)
        raise ValueError(
            f'{folder} is an image folder with no classes: it has no folder in it'
            + (f', but {images} images' if images else '')
            + '. Images must be in one folder per class, such as '
            f'{os.path.join(folder, "cat", "1.jpg")}.'
        )
    return classes


def scan(folder: str, classes: Sequence[str], extensions: Sequence[str]) -> Scan:
    """Find the images of a folder, with a progress bar.

    Args:
        folder (str): The folder.
        classes (Sequence[str]): Names of its class folders.
        extensions (Sequence[str]): Endings of images, in lower case.

    Raises:
        ValueError: If there is no image, or a link leads back to a folder it is in.
    """
    times: dict[str, int] = {}
    record: dict[str, Any] = dict(
        scanned=time.time_ns(),
        extensions=list(extensions),
        classes=list(classes),
        folders=times,
    )
    names, lengths = [], []
    for name in track(classes, description='class folders'):
        images = [os.fsencode(i) for i in _images(folder, name, extensions, times)]
        names.append(b''.join(images))
        lengths.append(np.fromiter(map(len, images), np.int64, len(images)))
    if not any(names):
        raise ValueError(
            f'{folder} has no image in any of its {len(classes)} class folders '
            f'({list_some(classes)}). Names of images must end in '
            f'{", ".join(extensions)}: set extensions to those of your images.'
        )
    record['empty'] = [c for c, n in zip(classes, names, strict=True) if not n]
    return Scan(names, lengths, record)


def _images(
    folder: str, name: str, extensions: Sequence[str], times: dict[str, int]
) -> list[str]:
    """Images in and below a class folder, sorted; fills in the times of its folders."""
    endings = tuple(extensions)
    images: list[str] = []
    left: list[tuple[str, frozenset]] = [(name, frozenset())]
    while left:
        name, parents = left.pop()
        path = os.path.join(folder, name)
        # Before it is listed: a change while it is listed shows next time.
        status = os.stat(path)
        times[name] = status.st_mtime_ns
        identity = (status.st_dev, status.st_ino)
        if identity in parents:
            raise ValueError(
                f'{path} is a link to a folder that it is in, so the search for images '
                'would not end. Delete the link.'
            )
        prefix = os.path.join(name, '')
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith('.'):
                    continue
                inner = prefix + entry.name
                if entry.is_dir():
                    left.append((inner, parents | {identity}))
                elif inner.lower().endswith(endings) and entry.is_file():
                    images.append(inner)
    return sorted(images)


def change_since(
    record: dict[str, Any],
    folder: str,
    classes: Sequence[str],
    extensions: Sequence[str],
    asked: int,
) -> str | None:
    """What has changed since a scan. Lists no folder, asks for their times only.

    Args:
        record (dict): The scan's record.
        folder (str): The folder.
        classes (Sequence[str]): Names of its class folders now.
        extensions (Sequence[str]): Endings of images now.
        asked (int): When the images were asked for, in nanoseconds. A scan that began
            later is as good as a new one.

    Returns:
        str, optional: A change, None if there is none.
    """
    if record['extensions'] != list(extensions):
        return f'extensions were {", ".join(record["extensions"])}'
    # By name, not by the folder's time, which changes with the index in it.
    if odd := sorted({*classes} ^ {*record['classes']}):
        return f'class folder {odd[0]} is {"new" if odd[0] in classes else "gone"}'
    for name, before in record['folders'].items():
        try:
            now = os.stat(os.path.join(folder, name)).st_mtime_ns
        except OSError:
            return f'{name} is gone'
        if now != before:
            return f'{name} has changed'
        # Unchanged in time may then be changed in content.
        settled = before < record['scanned'] - _CLOCK_STEP
        if not settled and record['scanned'] < asked:
            return f'{name} had only just changed when it was looked through'
    return None


def list_some(names: Sequence[str], most: int = 5) -> str:
    """The first few of some names, for a message.

    Args:
        names (Sequence[str]): The names.
        most (int): How many to list. Defaults to 5.
    """
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
