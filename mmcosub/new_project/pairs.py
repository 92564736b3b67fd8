"""Images and their masks: paired by name, of one size, and split for validation."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from mmcosub.datasets.image_files import (
    Header,
    describe_images,
    in_threads,
    read_header,
)
from mmcosub.datasets.listing import images_in

_SAMPLED = 50


@dataclass
class Pairs:
    """Images and masks by the image's name: path in its folder without suffix."""

    images: dict[str, Path]
    masks: dict[str, Path]
    tail: str
    """What the masks' names add to those of the images, such as '_mask'."""
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


def find_pairs(images: Path, masks: Path) -> Pairs:
    """Pair the images of a folder with the masks of another, subfolders included.

    ValueError if a mask is missing or of another size.
    """
    pictures, labels = _by_stem(images), _by_stem(masks)
    tail = ''
    if labels.keys().isdisjoint(pictures):
        some = list(pictures)[:_SAMPLED]
        tails = Counter(m[len(i) :] for i in some for m in labels if m.startswith(i))
        tail = max(tails, key=lambda each: tails[each], default='')
    if missing := [name for name in pictures if name + tail not in labels]:
        raise ValueError(
            f'{len(missing)} of {len(pictures)} images have no mask: '
            f'{pictures[missing[0]]} needs {masks / missing[0]}{tail}.png. Add the '
            'masks, or move those images to another folder (train --unlabelled DIR can '
            'use them).'
        )
    paired = {name: labels[name + tail] for name in pictures}
    headers = dict(in_threads(read_header, pictures))
    of_masks = dict(in_threads(read_header, paired))
    stored = any(of_masks[n].size == h.size != h.displayed for n, h in headers.items())
    pairs = Pairs(pictures, paired, tail, headers, stored)
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


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return pictures in a folder and its subfolders, by name without suffix."""
    if not folder.is_dir():
        raise ValueError(f'There is no folder {folder}.')
    found: dict[str, Path] = {}
    for path in images_in(folder):
        stem = path.relative_to(folder).with_suffix('').as_posix()
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


def split(names: list[str], fraction: float) -> tuple[list[str], list[str]]:
    """Split names for training and validation, by a hash of each name.

    The same names always give the same split, on every machine.
    """
    if not 0 < fraction < 1:
        raise ValueError(f'--val {fraction} must be between 0 and 1, such as 0.2.')
    if len(names) < 2:
        raise ValueError('1 image is too few: training and validation need one each.')
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    return sorted(order[count:]), sorted(order[:count])
