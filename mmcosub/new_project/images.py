"""What images are like: suffix, size, channels, depth, orientation."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mmcosub.datasets.orientation import TAG
from mmcosub.datasets.synthetic.opening import opened

from .masks import Masks, in_threads
from .pairs import Pairs

_DEPTH = {'I;16': 16, 'I;16B': 16, 'I;16L': 16, 'I': 32, 'F': 32, '1': 1}
_NAMES = {'RGB': 'RGB', 'RGBA': 'RGBA', 'L': 'grey', 'P': 'palette', 'LA': 'grey+alpha'}


@dataclass
class Images:
    """What some images are like.

    Args:
        sizes (dict[str, tuple[int, int]]): Width and height as displayed, by name.
        modes (Counter[str]): Number of images of each of Pillow's modes.
        turned (int): How many have an EXIF orientation.
        loads_as_stored (bool): Whether masks lie on the pixels as stored, not as the
            EXIF orientation turns them.
    """

    sizes: dict[str, tuple[int, int]]
    modes: Counter[str]
    turned: int
    loads_as_stored: bool

    @property
    def short_side(self) -> int:
        """Median of the shorter sides."""
        return int(median(min(size) for size in self.sizes.values()))


def read_images(pairs: Pairs, masks: Masks) -> Images:
    """Read the headers of all images, and compare sizes with the masks.

    Args:
        pairs (Pairs): Images and masks.
        masks (Masks): What is in the masks.

    Raises:
        ValueError: If an image cannot be read, or a mask has another size.
    """
    files = {name: pairs.images / image for name, (image, _) in pairs.files.items()}
    headers = dict(in_threads(_header, files))
    wrong: list[str] = []
    stored: list[str] = []
    displayed: list[str] = []
    for name, (_, size, orientation) in headers.items():
        shown, mask = size[::-1] if orientation > 4 else size, masks.sizes[name]
        if mask not in (size, shown):
            wrong.append(name)
        elif size != shown:
            (stored if mask == size else displayed).append(name)
    if wrong:
        name = wrong[0]
        image, mask = headers[name][1], masks.sizes[name]
        raise ValueError(
            f'{len(wrong)} of {len(files)} masks have another size than their image: '
            f'{pairs.masks / pairs.files[name][1]} has {mask[0]}x{mask[1]} pixels, '
            f'{files[name]} {image[0]}x{image[1]}. Save the masks anew at the size of '
            'the images (resize with nearest neighbour), or take both out.'
        )
    if stored and displayed:
        raise ValueError(
            f'By their EXIF orientation, the mask of {files[displayed[0]]} is turned '
            f'like its image, and that of {files[stored[0]]} is not. Save the images '
            'without EXIF orientation.'
        )
    sizes = {
        name: size[::-1] if orientation > 4 and not stored else size
        for name, (_, size, orientation) in headers.items()
    }
    modes = Counter(mode for mode, _, _ in headers.values())
    turned = sum(orientation > 1 for _, _, orientation in headers.values())
    return Images(sizes, modes, turned, bool(stored))


def describe_images(pairs: Pairs, images: Images) -> Iterator[str]:
    """Say what the images are like, in a line or two.

    Args:
        pairs (Pairs): Images and masks.
        images (Images): What :func:`read_images` has found.
    """
    sizes = Counter(images.sizes.values())
    small, large = min(sizes, key=_area), max(sizes, key=_area)
    size = f'{small[0]}x{small[1]}'
    if len(sizes) > 1:
        size += f' to {large[0]}x{large[1]}'
    modes = ', '.join(
        f'{_NAMES.get(mode, mode)} of {_DEPTH.get(mode, 8)} bits'
        for mode in images.modes
    )
    suffixes = ', '.join(pairs.suffixes(0))
    yield f'{len(images.sizes)} images: {suffixes}, {size} pixels, {modes}'
    if {*images.modes} - {'RGB'}:
        yield '  All are loaded as RGB of 8 bits, unless LoadImageFromFile is changed.'
    if images.turned:
        how = (
            'as stored, because the masks are'
            if images.loads_as_stored
            else 'as displayed; the masks must be drawn on that'
        )
        yield f'  {images.turned} have an EXIF orientation: loaded {how}.'


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _header(path: Path) -> tuple[str, tuple[int, int], int]:
    try:
        with opened(str(path)) as picture:
            return picture.mode, picture.size, picture.getexif().get(TAG, 1)
    except (OSError, SyntaxError) as error:
        raise ValueError(f'{path} cannot be read ({error}). Replace it.') from error
