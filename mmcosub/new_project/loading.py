"""Loading of images: as 8-bit RGB, or with all their channels and bits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcosub.datasets.image_files import evenly_spread, read_raw

from .pairs import Pairs

_SAMPLED = 50
_PIXELS = 100_000  # of each image
_LOAD: dict[str, Any] = dict(type='LoadImageFromFile')


@dataclass
class Loading:
    """First transforms of a pipeline, and what they load, in words."""

    said: str
    steps: list[dict[str, Any]]
    channels: int = 3

    @property
    def eight_bits(self) -> bool:
        """Images are loaded as 8-bit RGB, and normalised by the data preprocessor."""
        return len(self.steps) == 1


def find_loading(pairs: Pairs) -> Loading:
    """Decide how to load images; raise if they need several ways.

    MMCV makes 8-bit RGB of all files. That leaves a few dark values of images with more
    bits, and multiplies the colours of a TIFF by its fourth channel.
    """
    kinds = {h.kind: pairs.images[n] for n, h in pairs.headers.items()}
    tiff = any(p.suffix.lower() in ('.tif', '.tiff') for p in pairs.images.values())
    if not any(
        header.depth > 8
        or 'channels' in header.mode
        or (tiff and header.mode in ('RGBA', 'RGBX', 'RGBa'))
        for header in pairs.headers.values()
    ):
        said = 'loaded as 8-bit RGB' if {*kinds} - {'RGB of 8 bits'} else ''
        stored = {'color_type': 'color_ignore_orientation'} if pairs.as_stored else {}
        return Loading(said, [dict(_LOAD, **stored)])
    if len(kinds) > 1:
        found = ', '.join(f'{path} is {kind}' for kind, path in kinds.items())
        raise ValueError(
            f'The images have several kinds of pixels: {found}. Convert them to one, '
            'with the same channels and range of values.'
        )
    files = [*pairs.images.values()]
    backend = read_raw(files[0])[1]
    pixels = [_pixels(files[i]) for i in evenly_spread(len(files), _SAMPLED)]
    mean, std = (f(np.concatenate(pixels), axis=0) for f in (np.mean, np.std))
    std[std <= 1e-6 * np.abs(mean)] = 1  # a constant channel
    load = dict(_LOAD, color_type='unchanged', to_float32=True)
    # Not by the data preprocessor, which takes 1 or 3 channels.
    normalise: dict[str, Any] = dict(type='Normalize', to_rgb=False)
    for key, values in dict(mean=mean, std=std).items():
        normalise[key] = [float(f'{value:.5g}') for value in values]
    return Loading(
        f'loaded with all their bits and channels ({len(mean)}), and normalised by '
        'mean and standard deviation',
        [dict(load, imdecode_backend=backend), normalise],
        len(mean),
    )


def _pixels(path: Path) -> NDArray[np.float64]:
    """Return some pixels of an image, of shape (N, channels)."""
    image, _ = read_raw(path)
    x = image.reshape(-1, *image.shape[2:] or (1,))
    x = x[:: len(x) // _PIXELS + 1].astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError(
            f'{path} has pixels that are no numbers (NaN or infinite): give them a '
            'value, such as 0.'
        )
    return x
