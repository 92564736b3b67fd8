"""Images and their masks: paired by name, of one size, and split for validation."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from mmcosub.datasets.image_files import (
    Header,
    describe_images,
    in_threads,
    read_header,
)
from mmcosub.datasets.listing import images_in

_SEPARATOR = re.compile(r'[_.\- ]')
_PART = re.compile(r'(train|val|test)(ing|id|idation)?[^a-z/]*/')
"""First folder of a name that says which part of the data it is of."""


@dataclass
class Pairs:
    """Images and masks by name: path in the folder without suffix and ending."""

    images: dict[str, Path]
    masks: dict[str, Path]
    head: str
    tail: str
    """Endings that names of images and of masks add to the name, such as '_mask'."""
    headers: dict[str, Header]
    as_stored: bool
    """Masks lie on the pixels as stored, not as the EXIF orientation turns them."""

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height of each image as loaded."""
        stored = self.as_stored
        return {n: h.size if stored else h.displayed for n, h in self.headers.items()}

    def describe(self) -> Iterator[str]:
        """Say what the images are like, in a line or two."""
        headers = self.headers.values()
        said = describe_images(suffixes(self.images), self.sizes.values(), headers)
        yield f'{len(headers)} images: {said}'
        if turned := sum(each.orientation > 1 for each in headers):
            how = 'as displayed; the masks must be drawn on that'
            if self.as_stored:
                how = 'as stored, because the masks are'
            yield f'  {turned} have an EXIF orientation: loaded {how}.'


def suffixes(files: dict[str, Path]) -> list[str]:
    """Return the suffixes of some files."""
    return sorted({path.suffix for path in files.values()})


def find_pairs(images: Path, masks: Path, ending: str | None = None) -> Pairs:
    """Pair the images of a folder with the masks of another, subfolders included.

    Names may have a common ending, of masks also a given one. ValueError if a mask is
    missing, of another size, or one of several.
    """
    pictures, labels = _by_stem(images), _by_stem(masks)
    if images.resolve() == masks.resolve():
        raise ValueError(
            f'{images} is given for the images and for the masks, so each image would '
            'be its own mask. Put the masks into a folder of their own.'
        )
    tails = ('', _ending(labels)) if ending is None else (ending,)
    for head, tail in product(('', _ending(pictures)), tails):
        if any(name.removesuffix(head) + tail in labels for name in pictures):
            break
    pictures = {name.removesuffix(head): path for name, path in pictures.items()}
    if missing := [name for name in pictures if name + tail not in labels]:
        raise ValueError(
            f'{len(missing)} of {len(pictures)} images have no mask: '
            f'{pictures[missing[0]]} needs {masks / missing[0]}{tail}.png. Add the '
            'masks, or move those images to another folder (train --unlabelled DIR can '
            'use them). If images have several masks: --mask-ending.'
        )
    paired = {name: labels[name + tail] for name in pictures}
    headers = dict(in_threads(read_header, pictures))
    of_masks = dict(in_threads(read_header, paired))
    stored = any(of_masks[n].size == h.size != h.displayed for n, h in headers.items())
    pairs = Pairs(pictures, paired, head, tail, headers, stored)
    wrong = [n for n, size in pairs.sizes.items() if of_masks[n].size != size]
    if wrong:
        image, mask = pairs.sizes[wrong[0]], of_masks[wrong[0]].size
        raise ValueError(
            f'{len(wrong)} of {len(headers)} masks have another size than their image: '
            f'{paired[wrong[0]]} has {mask[0]}x{mask[1]} pixels, '
            f'{pictures[wrong[0]]} {image[0]}x{image[1]}. Save the masks anew at the '
            'size of the images (resize with nearest neighbour), or take both out.'
        )
    return pairs


def _ending(names: Iterable[str]) -> str:
    """Return the common end of some names, from a separator on."""
    common = os.path.commonprefix([name[::-1] for name in names])[::-1]  # noqa: RUF071
    return (
        common[separator.start() :] if (separator := _SEPARATOR.search(common)) else ''
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return pictures in a folder and its subfolders, by name without suffix."""
    if not folder.is_dir():
        raise ValueError(f'There is no folder {folder}.')
    found: dict[str, Path] = {}
    for path in images_in(folder):
        stem = path.relative_to(folder).with_suffix('').as_posix()
        if stem != stem.strip() or not stem.isprintable():
            raise ValueError(
                f'{str(path)!r}: lists of images take no names with spaces at an end '
                'or with unprintable characters. Rename it.'
            )
        if stem in found:
            raise ValueError(
                f'{folder} has {stem}{found[stem].suffix} and {stem}{path.suffix}: '
                'names must differ in more than their suffix, so that each image has '
                'one mask. Rename one, or move it to another folder.'
            )
        found[stem] = path
    if not found:
        raise ValueError(f'{folder} has no pictures ({", ".join(IMG_EXTENSIONS)}).')
    return dict(sorted(found.items()))


def split(names: list[str], fraction: float | None) -> tuple[list[str], list[str]]:
    """Split names for training and validation, by a hash of each name.

    The same names always give the same split, on every machine. Without a fraction,
    names in folders such as ``train``, ``val`` and ``test`` are split like these, and
    those of ``test`` left out; others are split with 0.2 for validation. ValueError if
    only some are in such folders.
    """
    parts: dict[str, list[str]] = {}
    if fraction is None:
        for name in names:
            found = _PART.match(name.lower())
            parts.setdefault(found[1] if found else '', []).append(name)
        if '' in parts and len(parts) > 2:
            raise ValueError(
                f'{len(parts[""])} of {len(names)} images, such as {parts[""][0]}, are '
                'in none of the folders that tell training from validation or testing '
                'as others do. Move them, or give --val 0.2 to split all at random.'
            )
        if '' not in parts and 'train' in parts:
            if 'val' in parts:
                return parts['train'], parts['val']
            names = parts['train']
        fraction = 0.2
    if not 0 < fraction < 1:
        raise ValueError(f'--val {fraction} must be between 0 and 1, such as 0.2.')
    if len(names) < 2:
        raise ValueError('1 image is too few: training and validation need one each.')
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    return sorted(order[count:]), sorted(order[:count])
