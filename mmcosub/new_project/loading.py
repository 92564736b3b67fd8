"""How images are loaded: as 8-bit RGB, or with all their channels and bits."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcosub.datasets.image_files import (
    Header,
    evenly_spread,
    in_threads,
    read_raw,
)

from .pairs import Pairs

_SAMPLED = 50
_LOAD: dict[str, Any] = dict(type='LoadImageFromFile')
_FOURTH = ('RGBA', 'RGBX', 'RGBa')
"""Pillow's modes of three colours and a fourth channel."""


@dataclass
class Loading:
    """How images are loaded and, if not as 8-bit RGB, normalised."""

    said: str
    steps: list[dict[str, Any]]
    """First transforms of a pipeline."""
    preprocessor: dict[str, Any] = field(default_factory=dict)
    """Arguments of the data preprocessor."""
    channels: int = 3

    @property
    def eight_bits(self) -> bool:
        """Images are loaded as 8-bit RGB."""
        return not self.preprocessor


def find_loading(pairs: Pairs) -> Loading:
    """Decide how to load images; raise if they need several ways.

    MMCV makes 8-bit RGB of all files. That leaves a few dark values of images with more
    bits, and multiplies the colours of a TIFF by its fourth channel.
    """
    kinds = {h.kind: pairs.images[n] for n, h in pairs.headers.items()}
    if not any(_is_raw(pairs.images[n], h) for n, h in pairs.headers.items()):
        said = 'loaded as 8-bit RGB' if {*kinds} - {'RGB of 8 bits'} else ''
        stored = {'color_type': 'color_ignore_orientation'} if pairs.as_stored else {}
        return Loading(said, [dict(_LOAD, **stored)])
    if len(kinds) > 1:
        found = ', '.join(f'{path} is {kind}' for kind, path in kinds.items())
        raise ValueError(
            f'The images have several kinds of pixels: {found}. Convert them to one, '
            'with the same channels and range of values.'
        )
    names = [*pairs.images]
    sample = [names[i] for i in evenly_spread(len(names), _SAMPLED)]
    read = in_threads(_moments, {name: pairs.images[name] for name in sample})
    backends, moments = zip(*(each for _, each in read), strict=True)
    count, total, squares = sum(moments)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std[std <= 1e-6 * np.abs(mean)] = 1  # a constant channel
    load = dict(_LOAD, color_type='unchanged', to_float32=True)
    steps: list[dict[str, Any]] = [dict(load, imdecode_backend=backends[0])]
    colours = len(mean) == 3 and backends[0] == 'cv2'  # loaded as BGR
    order = slice(None, None, -1 if colours else 1)
    statistics: dict[str, Any] = {
        key: [float(f'{value:.5g}') for value in values[order]]
        for key, values in dict(mean=mean, std=std).items()
    }
    if len(mean) not in (1, 3):  # which the data preprocessor does not take
        steps.append(dict(type='Normalize', **statistics, to_rgb=False))
        statistics = dict(mean=None, std=None)
    return Loading(
        f'loaded with all their bits and channels ({len(mean)}), and normalised by '
        'mean and standard deviation',
        steps,
        dict(statistics, bgr_to_rgb=colours),
        len(mean),
    )


def _is_raw(path: Path, header: Header) -> bool:
    """Return True if loading as 8-bit RGB would lose what is in an image."""
    fourth = path.suffix.lower() in ('.tif', '.tiff') and header.mode in _FOURTH
    return fourth or header.depth > 8 or 'channels' in header.mode


def _moments(path: Path) -> tuple[str, NDArray]:
    """Return the backend that reads an image, and sums of 1, x and x² by channel."""
    image, backend = read_raw(path)
    x = image.reshape(-1, *image.shape[2:] or (1,)).astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError(
            f'{path} has pixels that are no numbers (NaN or infinite): give them a '
            'value, such as 0.'
        )
    return backend, np.stack([np.full(x.shape[1], len(x)), x.sum(0), (x * x).sum(0)])
