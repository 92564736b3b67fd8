"""Where the index of an image folder is kept, and when it is made anew."""

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.logging import print_log

from .folder_index import FolderIndex, load, pack, save
from .folder_scan import change_since, class_folders, scan

# A hidden file and not a folder: other readers take any folder for a class.
NAME = '.mmcosub_index.npy'


def load_index(
    folder: str, extensions: Sequence[str], index_file: str | None = None
) -> FolderIndex:
    """The index of a folder: from its file, or made anew if anything has changed.

    Args:
        folder (str): Folder of the class folders.
        extensions (Sequence[str]): Endings of images, in lower case.
        index_file (str, optional): Where the index is kept. Defaults to None, for a
            hidden file in the folder or, if that cannot be written, in the user's
            cache.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has no class folders, or they have no image.
    """
    asked = time.time_ns()
    classes = class_folders(folder, extensions)
    paths = [Path(index_file).expanduser()] if index_file else _usual_paths(folder)
    paths = [path.absolute() for path in paths]  # for workers that start elsewhere
    with _one_at_a_time(folder):
        why = 'it has no index yet'
        for path in filter(os.path.exists, paths):
            try:
                index = load(path)
            except Exception as error:  # whatever it is, a new index mends it
                why = f'{path} cannot be used ({error})'
                continue
            change = change_since(index.record, folder, classes, extensions, asked)
            if change is None:
                return index
            why = change
        print_log(f'Looking for the images of {folder}: {why}.', 'current')
        index = pack(scan(folder, classes, extensions))
        errors = []
        for path in paths:
            try:
                return save(index, path)
            except OSError as error:
                errors.append(str(error))
    print_log(
        f'The index cannot be kept ({"; ".join(errors)}), so the next start will look '
        'for the images again. Set index_file to a file that can be written.',
        'current',
        logging.WARNING,
    )
    return index


def _usual_paths(folder: str) -> list[Path]:
    paths = [Path(folder, NAME)]
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    if os.path.isabs(cache):  # it is not for a user who has no home
        key = hashlib.sha256(os.fsencode(os.path.abspath(folder))).hexdigest()
        paths.append(Path(cache, 'mmcosub', f'{key[:16]}.npy'))
    return paths


@contextlib.contextmanager
def _one_at_a_time(folder: str) -> Iterator[None]:
    """Of processes that start together one makes the index, and the others wait.

    Where folders cannot be locked, as on some network file systems, each makes it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
