"""Label maps: what makes one unusable, and counts of classes.

Shapes: ``C`` classes; counts of pixels are of shape (C + 1,), ignored ones last.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .image_files import opened, orientation_of

Counts = NDArray[np.int64]

_STOCK = ('mmcv', 'mmengine', 'mmseg', 'mmpretrain', 'mmdet', 'mmcosub')
_NAMED = 8


class BadSampleError(ValueError):
    """Error of a sample whose files cannot be used."""


def is_stock(transform: object) -> bool:
    """Return True for a transform of OpenMMLab or mmcosub.

    A user's may read labels of more than 8 bits or another size, or renumber them.
    """
    return type(transform).__module__.partition('.')[0] in _STOCK


def check_values(
    labels: NDArray, num_classes: int, ignore_index: int, names: str
) -> None:
    """Raise for values that are neither a class nor ignored, naming the files."""
    wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    if wrong.any():
        raise BadSampleError(
            f'The label of {names} has the values '
            f'{np.unique(labels[wrong])[:5].tolist()}, but the model has classes 0 to '
            f'{num_classes - 1} (and {ignore_index} to ignore). Fix the file, or set '
            'num_classes; if 0 means "no class" in these labels, set '
            'reduce_zero_label=True.'
        )


def check_loaded(results: dict) -> None:
    """Raise for a label map of colours, of 16 bits, or unlike its image in size."""
    labels, path = results['gt_seg_map'], results.get('seg_map_path')
    if labels.ndim > 2:
        raise BadSampleError(
            f'The label {path} has {labels.shape[2]} channels: it shows classes as '
            'colours, but a label map has one channel, the number of the class. '
            '`mmcosub init IMAGES MASKS --out DIR` converts such masks.'
        )
    image, size = results.get('ori_shape'), labels.shape
    if image is not None and tuple(image[:2]) != size:
        hint, orientation = '', orientation_of(results.get('img_path'))
        if orientation >= 5 and tuple(image[1::-1]) == size:
            hint = (
                f' The image has EXIF orientation {orientation}: LoadImageFromFile '
                "turns it with color_type='color', and not with "
                "'color_ignore_orientation'."
            )
        raise BadSampleError(
            f'The label {path} is of {size[0]}x{size[1]} pixels, but the image '
            f'{results.get("img_path")} of {image[0]}x{image[1]}. Fix either, or take '
            f'both out.{hint}'
        )
    check_depth(str(path))


def check_depth(path: str) -> None:
    """Raise if label values exceed the 8 bits of which mmseg reads the remainder.

    A file that Pillow cannot open passes.
    """
    if not Path(path).is_file():
        return
    try:
        with opened(path) as image:
            if not image.mode.startswith(('I', 'F')):  # more than 8 bits a channel
                return
            values = np.asarray(image)
    except OSError:
        return
    odd = values[(values < 0) | (values > 255) | (values != np.floor(values))]
    if odd.size:
        raise BadSampleError(
            f'The label {path} has the values {np.unique(odd)[:5].tolist()}, but label '
            'maps are read as 8-bit integers, 0 to 255. Save it with such values.'
        )


# ---- counts ----------------------------------------------------------------------


def count_labels(labels: NDArray, num_classes: int, ignore_index: int) -> Counts:
    """Count the pixels of each class and, last, the ignored ones."""
    ignored = labels == ignore_index
    known = labels[~ignored & (labels >= 0) & (labels < num_classes)]
    counts = np.bincount(known.astype(np.int64).ravel(), minlength=num_classes)
    return np.append(counts, ignored.sum())


def describe_labels(counts: Counts, names: Sequence[str], ignore_index: int) -> str:
    """Describe which classes never occur and what fraction is ignored."""
    missing = [
        name
        for number, name in enumerate(names)
        if not counts[number] and number != ignore_index
    ]
    found = 'every class occurs'
    if missing:
        more = ', ...' if len(missing) > _NAMED else ''
        found = (
            f'{len(missing)} of {len(names)} classes never occur '
            f'({", ".join(missing[:_NAMED])}{more})'
        )
    return f'{found}; {counts[-1] / max(counts.sum(), 1):.1%} of pixels are ignored'


def few_classes(counts: Counts) -> bool:
    """Return True if a task of several classes has labels of at most one."""
    return len(counts) > 2 and int(np.count_nonzero(counts[:-1])) < 2


def explain_few_classes(
    counts: Counts, ignore_index: int, reduce_zero_label: bool
) -> str:
    """Explain labels of at most one class, with the likely remedy."""
    (present,) = np.nonzero(counts[:-1])
    ignored = counts[-1] / max(counts.sum(), 1)
    if len(present) == 0:
        said = f'have nothing but {ignore_index}, which is ignored'
    else:
        said = f'have class {present[0]} only, of {len(counts) - 1}'
        if ignored:
            said += f', and {ignore_index}, which is ignored ({ignored:.1%} of pixels)'
    remedy = 'Check data_prefix.seg_map_path and the files in it.'
    if reduce_zero_label:
        remedy = (
            'reduce_zero_label=True ignores 0 and takes 1 from every other label: if 0 '
            'is a class, set reduce_zero_label=False.'
        )
    elif ignored:
        remedy = (
            f'If {ignore_index} stands for a class, as in masks of 0 and 255, save the '
            'masks again with the numbers of the classes: 0, 1, ..., as '
            '`mmcosub init` does.'
        )
    return f'{said}. {remedy}'
