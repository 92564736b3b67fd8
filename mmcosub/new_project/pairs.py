"""Images and their masks, paired by name, and the split for validation."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from mmcosub.datasets.listing import images_in

_SAMPLED = 50


@dataclass
class Pairs:
    """A folder of images and one of masks, with a mask for each image."""

    images: Path
    masks: Path
    files: dict[str, tuple[str, str]]
    """Image and mask in their folders, by the image's name without suffix."""
    tail: str
    """What the masks' names add to those of the images, such as '_mask'."""
    unused: int
    """Number of masks without an image."""

    def suffixes(self, which: int) -> list[str]:
        """Suffixes of the images (0) or the masks (1)."""
        return sorted({Path(pair[which]).suffix for pair in self.files.values()})


def find_pairs(images: Path, masks: Path) -> Pairs:
    """Pair the images of a folder with the masks of another, subfolders included."""
    pictures, labels = _by_stem(images), _by_stem(masks)
    tail = _tail(pictures, labels)
    missing = [name for name in pictures if name + tail not in labels]
    if missing:
        first = pictures[missing[0]]
        raise ValueError(
            f'{len(missing)} of {len(pictures)} images have no mask: {images / first} '
            f'needs {masks / missing[0]}{tail}.png. Add the masks, or move those '
            'images to another folder (train --unlabelled DIR can use them).'
        )
    files = {name: (file, labels[name + tail]) for name, file in pictures.items()}
    return Pairs(images, masks, files, tail, len(labels) - len(files))


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


def _by_stem(folder: Path) -> dict[str, str]:
    """Return pictures in a folder and its subfolders, by name without suffix."""
    if not folder.is_dir():
        raise ValueError(f'There is no folder {folder}.')
    found: dict[str, str] = {}
    for path in images_in(folder):
        file = path.relative_to(folder)
        stem = file.with_suffix('').as_posix()
        if stem in found:
            raise ValueError(
                f'{folder} has {found[stem]} and {file.as_posix()}: names must '
                'differ in more than their suffix, so that each image has one '
                'mask. Rename one, or move it to another folder.'
            )
        found[stem] = file.as_posix()
    if not found:
        raise ValueError(f'{folder} has no pictures ({", ".join(IMG_EXTENSIONS)}).')
    return dict(sorted(found.items()))


def _tail(images: dict[str, str], masks: dict[str, str]) -> str:
    """Return what most masks' names add to those of their images."""
    if not masks.keys().isdisjoint(images):
        return ''
    some = list(images)[:_SAMPLED]
    tails = Counter(m[len(i) :] for i in some for m in masks if m.startswith(i))
    return tails.most_common(1)[0][0] if tails else ''
