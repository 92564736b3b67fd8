"""What images are like: size, mode, orientation, and whether masks fit."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from mmcosub.datasets.image_files import describe_images, in_threads, read_header

from .masks import Masks
from .pairs import Pairs


@dataclass
class Images:
    """What some images are like: width and height as loaded, and Pillow's modes."""

    sizes: list[tuple[int, int]]
    modes: Counter[str]
    turned: int
    """Number of images with an EXIF orientation."""
    loads_as_stored: bool
    """Masks lie on the pixels as stored, not as the EXIF orientation turns them."""

    @property
    def short_side(self) -> int:
        """Median of the shorter sides."""
        return int(median(min(size) for size in self.sizes))


def read_images(pairs: Pairs, masks: Masks) -> Images:
    """Read the headers of all images; raise if a mask has another size."""
    files = {name: pairs.images / image for name, (image, _) in pairs.files.items()}
    headers = dict(in_threads(read_header, files))
    wrong: list[str] = []
    stored: list[str] = []
    displayed: list[str] = []
    for name, header in headers.items():
        mask = masks.sizes[name]
        if mask not in (header.size, header.displayed):
            wrong.append(name)
        elif header.size != header.displayed:
            (stored if mask == header.size else displayed).append(name)
    if wrong:
        name = wrong[0]
        image, mask = headers[name].size, masks.sizes[name]
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
    found = headers.values()
    return Images(
        [header.size if stored else header.displayed for header in found],
        Counter(header.mode for header in found),
        sum(header.orientation > 1 for header in found),
        bool(stored),
    )


def lines_about(pairs: Pairs, images: Images) -> Iterator[str]:
    """Say what the images are like, in a line or two."""
    said = describe_images(pairs.suffixes(0), images.sizes, images.modes)
    yield f'{len(images.sizes)} images: {said}'
    if {*images.modes} - {'RGB'}:
        yield '  All are loaded as RGB of 8 bits, unless LoadImageFromFile is changed.'
    if images.turned:
        how = 'as displayed; the masks must be drawn on that'
        if images.loads_as_stored:
            how = 'as stored, because the masks are'
        yield f'  {images.turned} have an EXIF orientation: loaded {how}.'
