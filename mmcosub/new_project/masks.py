"""Values or colours of masks, and their conversion to index masks."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcosub.datasets.image_files import in_threads, opened, read_header

# Modes of Pillow that mmseg reads as numbers of classes.
_PLAIN = {'L', 'P', '1'}
_ONE_CHANNEL = {*_PLAIN, 'I', 'F', 'I;16', 'I;16B', 'I;16L', 'LA', 'La'}
_MOST = 255
_SHOWN = 12


@dataclass
class Masks:
    """Pixels of each value in some masks, by name."""

    counts: dict[str, Counter[int]]
    colours: bool
    """Values are colours, as the number 0xRRGGBB."""
    plain: bool
    """mmseg reads the values as they are."""

    @property
    def total(self) -> Counter[int]:
        """Pixels of each value in all masks."""
        return sum(self.counts.values(), Counter())

    def show(self, *values: int) -> str:
        """Write the first values as a user would."""
        shown = [f'#{v:06x}' if self.colours else str(v) for v in values[:_SHOWN]]
        return ', '.join(shown) + ', ...' * (len(values) > _SHOWN)


def read_masks(files: dict[str, Path]) -> Masks:
    """Read all masks; raise if one cannot be read, or there are too many values."""
    modes = {header.mode for _, header in in_threads(read_header, files)}
    colours = not modes <= _ONE_CHANNEL
    seen: set[int] = set()
    counts = {}
    for name, values in in_threads(lambda path: _count(path, colours), files):
        counts[name] = values
        seen |= values.keys()
        if len(seen) > _MOST:
            raise ValueError(
                f'{files[name]}: there are more than {_MOST} '
                f'{"colours" if colours else "values"} in {len(counts)} masks. Are '
                'these masks, with one value for each class? JPEG changes values: save '
                'masks as PNG.'
            )
    jpeg = any(path.suffix.lower() in ('.jpg', '.jpeg') for path in files.values())
    if jpeg and any(value + 1 in seen for value in seen):
        raise ValueError(
            f'{next(iter(files.values()))}: JPEG changes values of pixels, so these '
            'masks have values that no class has. Save masks as PNG.'
        )
    if colours and all(value % 0x010101 == 0 for value in seen):  # grey: numbers
        colours = False
        counts = {
            name: Counter({value & 255: n for value, n in values.items()})
            for name, values in counts.items()
        }
    return Masks(counts, colours, modes <= _PLAIN)


def convert(
    masks: dict[str, Path], colours: bool, table: dict[int, int], out: dict[str, Path]
) -> None:
    """Write index masks to files by name, with a table from value to class."""
    values = np.array(sorted(table))
    numbers = np.array([table[value] for value in values], dtype=np.uint8)

    def write(name: str) -> None:
        index = np.searchsorted(values, _read(masks[name], colours))
        out[name].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers[index]).save(out[name])

    for _ in in_threads(write, {name: name for name in masks}):
        pass


def _count(path: Path, colours: bool) -> Counter[int]:
    values, counts = np.unique(_read(path, colours), return_counts=True)
    if (values < 0).any() or (values != np.floor(values)).any():
        raise ValueError(
            f'{path} has values that are no whole numbers from 0. Save the number of '
            'the class.'
        )
    return Counter(dict(zip(values.astype(int).tolist(), counts.tolist(), strict=True)))


def _read(path: Path, colours: bool) -> NDArray:
    """Return the values of a mask, of shape (height, width)."""
    try:
        with opened(path) as picture:
            if colours:
                rgb = np.asarray(picture.convert('RGB')).astype(np.int32)
                return rgb @ np.array([0x10000, 0x100, 1], dtype=np.int32)
            if picture.mode not in _ONE_CHANNEL:  # grey, in three channels
                picture = picture.convert('RGB')
            values = np.asarray(picture)
            return values if values.ndim == 2 else values[..., 0]
    except (OSError, SyntaxError) as error:
        raise ValueError(f'{path} cannot be read ({error}). Replace it.') from error
