"""Index of an image folder, in one file that all processes share.

The file is memory-mapped: it opens at once, whatever its size, and the processes of a
machine hold it once.
"""

import contextlib
import json
import os
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .folder_scan import Scan

VERSION = 1
_FIELDS = ('checksums', 'offsets', 'labels', 'names', 'record')


class FolderIndex:
    """Names and labels of the images of a folder.

    Pickled, it is the name of its file, which is mapped again where it is unpickled.

    Args:
        data (ndarray): One element with the fields above.
        path (Path, optional): File that it is mapped from. Defaults to None, for an
            index in memory only.
    """

    def __init__(self, data: NDArray[np.void], path: Path | None = None) -> None:
        # Plain arrays: taking elements of a memmap costs several times as much.
        fields = [np.asarray(data[name][0]) for name in _FIELDS]
        checksums, self._offsets, self.labels, self._names, record = fields
        self.record: dict[str, Any] = json.loads(record.tobytes())
        self.content = int(checksums[0])
        self.path = path
        self.data = data

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        """Name of an image, relative to the folder.

        Args:
            i (int): Number of the image, from 0 to ``len(self) - 1``.
        """
        name = self._names[self._offsets[i] : self._offsets[i + 1]]
        return os.fsdecode(name.tobytes())

    def __reduce__(self) -> tuple[Callable[..., 'FolderIndex'], tuple]:
        if self.path is None:
            return FolderIndex, (self.data,)
        return _map_again, (self.path, self.content)


def pack(found: Scan) -> FolderIndex:
    """Index in memory of what a scan found.

    Args:
        found (Scan): Images of at least one class.
    """
    record = json.dumps(dict(version=VERSION, **found.record)).encode()
    names, lengths = b''.join(found.names), np.concatenate(found.lengths)
    kinds = ('<i8', '<i8', '<i4', 'u1', 'u1')
    sizes = (2, len(lengths) + 1, len(lengths), len(names), len(record))
    fields = zip(_FIELDS, kinds, ((size,) for size in sizes), strict=True)
    data = np.zeros(1, list(fields))
    data['offsets'][0, 1:] = np.cumsum(lengths)
    counts = [len(of_class) for of_class in found.lengths]
    data['labels'] = np.repeat(np.arange(len(counts)), counts)
    data['names'] = np.frombuffer(names, np.uint8)
    data['record'] = np.frombuffer(record, np.uint8)
    raw, (start, end) = data.view(np.uint8).data, _content(data)
    data['checksums'] = zlib.crc32(raw[start:end]), zlib.crc32(raw[end:])
    return FolderIndex(data)


def _content(data: NDArray[np.void]) -> tuple[int, int]:
    """Where offsets, labels and names begin, and where they end."""
    fields = data.dtype.fields
    assert fields is not None
    return fields['offsets'][1], fields['record'][1]


def save(index: FolderIndex, path: Path) -> FolderIndex:
    """Write an index and map it.

    Args:
        index (FolderIndex): The index.
        path (Path): The file. Its folder is made; a file that is there is replaced.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under a name of its own until it is whole.
    partial = path.with_name(f'{path.name}.{uuid.uuid4().hex}')
    try:
        with partial.open('xb') as file:
            np.save(file, index.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return _map(path)


def load(path: Path) -> FolderIndex:
    """Map an index that is whole.

    Args:
        path (Path): The file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is something else, of another format, or not as it was
            written.
    """
    index = _map(path)
    start, end = _content(index.data)
    size = index.data.itemsize
    with path.open('rb') as file:  # read, not mapped: it stays out of our memory
        file.seek(-size + start, os.SEEK_END)
        sums = [_checksum(file, end - start), _checksum(file, size - end)]
    if index.data['checksums'][0].tolist() != sums:
        raise ValueError('its checksum is wrong')
    if index.record['version'] != VERSION:
        raise ValueError(f'its format is {index.record["version"]}, not {VERSION}')
    return index


def _map(path: Path) -> FolderIndex:
    data = np.lib.format.open_memmap(path, mode='r')
    if data.dtype.names != _FIELDS:
        raise ValueError('it is something else')
    return FolderIndex(data, path)


def _map_again(path: Path, content: int) -> FolderIndex:
    """The index that another process pickled.

    Raises:
        RuntimeError: If its file is gone or lists other images by now.
    """
    with contextlib.suppress(OSError, ValueError):
        index = _map(path)
        if index.content == content:
            return index
    raise RuntimeError(
        f'{path} is not what it was when this run began: images or extensions have '
        'changed, or another dataset keeps its index there. Start the run again; give '
        'each dataset an index_file of its own if you give any.'
    )


def _checksum(file: BinaryIO, size: int) -> int:
    checksum = 0
    while size and (part := file.read(min(size, 1 << 20))):
        checksum = zlib.crc32(part, checksum)
        size -= len(part)
    return checksum
