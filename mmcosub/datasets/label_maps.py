"""Label-map checks: size, bit depth, value range."""

from pathlib import Path

import numpy as np

from mmcosub.datasets.synthetic.opening import opened

from .bad_samples import BadSampleError
from .orientation import orientation_of

# Modes of Pillow with more than 8 bits in a channel.
_WIDE = ('I', 'F')

_STOCK = ('mmcv', 'mmengine', 'mmseg', 'mmpretrain', 'mmdet', 'mmcosub')


def is_stock(transform: object) -> bool:
    """Return True for a transform of OpenMMLab or mmcosub, not a user's.

    A user's transform may read labels of more than 8 bits or another size, or renumber
    them.
    """
    return type(transform).__module__.partition('.')[0] in _STOCK


def label_values_out_of_range(
    labels: np.ndarray, num_classes: int, ignore_index: int
) -> list[int]:
    """Return up to five values that are neither a class nor ignored.

    Args:
        labels (ndarray): Label map of any shape.
        num_classes (int): Number of classes.
        ignore_index (int): Label of ignored pixels.
    """
    wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    return np.unique(labels[wrong])[:5].tolist() if wrong.any() else []


def check_depth(path: str) -> None:
    """Raise if label values exceed the 8 bits that mmseg reads.

    mmseg reads values modulo 256: class 256 would become class 0.

    Args:
        path (str): The file. It passes if Pillow cannot open it.

    Raises:
        BadSampleError: If values are above 255, below 0 or not integers.
    """
    if not Path(path).is_file():
        return
    try:
        with opened(path) as image:  # its header
            if not image.mode.startswith(_WIDE):
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


def check_channels(labels: np.ndarray, path: object) -> None:
    """Refuse a mask of colours, which is no map of class numbers.

    Args:
        labels (ndarray): The label map as it was loaded.
        path (object): Its file.

    Raises:
        BadSampleError: If it has more than one channel.
    """
    if labels.ndim > 2:
        raise BadSampleError(
            f'The label {path} has {labels.shape[2]} channels: it shows classes as '
            'colours, but a label map has one channel, the number of the class. '
            '`mmcosub init IMAGES MASKS --out DIR` converts such masks.'
        )


def check_size(results: dict) -> None:
    """Raise if label map and image differ in size.

    Args:
        results (dict): The pipeline's record of a sample with both loaded.

    Raises:
        BadSampleError: If height or width differ.
    """
    image, labels = results.get('ori_shape'), results['gt_seg_map'].shape
    if image is not None and tuple(image[:2]) != labels[:2]:
        size = 'x'.join(str(side) for side in labels[:2])
        hint, orientation = '', orientation_of(results.get('img_path'))
        if orientation >= 5 and tuple(image[1::-1]) == labels[:2]:
            hint = (
                f' The image has EXIF orientation {orientation}: LoadImageFromFile '
                "turns it with color_type='color', and not with "
                "'color_ignore_orientation'."
            )
        raise BadSampleError(
            f'The label {results.get("seg_map_path")} is of {size} pixels, but the '
            f'image {results.get("img_path")} of {image[0]}x{image[1]}. Fix either, '
            f'or take both out.{hint}'
        )
