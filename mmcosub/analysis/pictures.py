"""Writing pictures: overlays of classes, and where submodels disagree."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from .disagreement import Ensemble

Picture = NDArray[np.uint8]


def check_picture_name(path: Path) -> None:
    """Raise if a file's suffix is not of an image.

    Raises:
        ValueError: If OpenCV cannot write this format.
    """
    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f'{path} does not end like an image, such as .png.')


def write_picture(path: Path, picture: Picture) -> None:
    """Write an image; its folder is created.

    Args:
        path (Path): The file.
        picture (ndarray): In BGR, of shape (H, W, 3).

    Raises:
        ValueError: If the suffix is not of an image.
        OSError: If it cannot be written.
    """
    check_picture_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):  # without a reason
        raise OSError(f'{path} cannot be written.')


class DisagreementPictures:
    """Writer of an image, the mean prediction and the disagreement.

    The disagreement is black where all submodels agree and light yellow where all
    differ; the scale is the same for all images. Files are named like the images, with
    parent folders if names repeat.

    Args:
        folder (Path): Output folder; it is created.
        palette (Sequence): Colours of the classes in RGB, of shape (C, 3).
    """

    def __init__(self, folder: Path, palette: Any) -> None:
        self.folder = folder
        self.palette = np.array(palette, np.uint8)
        self.names: dict[str, str] = {}

    def __call__(self, sample: Any, ensemble: Ensemble) -> None:
        """Write an image's picture.

        Args:
            sample (SegDataSample): The sample, with its ``img_path``.
            ensemble (Ensemble): Predictions of the submodels.
        """
        predicted = ensemble.prediction.cpu().numpy()
        most = 1 - 1 / len(ensemble.predicted)
        differ = ensemble.disagreement.cpu().numpy() / max(most, 1e-9)
        heat = cv2.applyColorMap((255 * differ).astype(np.uint8), cv2.COLORMAP_INFERNO)
        size = predicted.shape[::-1]
        image = cv2.imread(sample.img_path)
        panels = [cv2.resize(image, size)] if image is not None else []
        panels += [self.palette[predicted][..., ::-1], heat]
        gap = np.full((size[1], 4, 3), 255, np.uint8)
        row = [part for panel in panels for part in (panel, gap)][:-1]
        name = self._name(sample.img_path)
        write_picture(self.folder / f'{name}.png', np.hstack(row))

    def _name(self, path: str) -> str:
        parts = Path(path).with_suffix('').as_posix().strip('/').split('/')
        names = ['_'.join(parts[-n:]) for n in range(1, len(parts) + 1)]
        name = next((n for n in names if self.names.get(n, path) == path), names[-1])
        self.names[name] = path
        return name


def overlay(
    image: Picture, classes: Any, palette: Any, names: Any, opacity: float = 0.5
) -> Picture:
    """Draw classes over an image, with a legend of those present beside it.

    Args:
        image (ndarray): In BGR, of shape (H, W, 3).
        classes (ndarray): Class of each pixel, of shape (H, W).
        palette (Sequence): Colours of the classes in RGB, of shape (C, 3).
        names (Sequence[str]): Names of the classes.
        opacity (float): Of the classes, in [0, 1]. Defaults to 0.5.

    Returns:
        ndarray: In BGR, larger than the image by the legend.
    """
    colours = np.array(palette, np.uint8)
    mixed = (1 - opacity) * image[..., ::-1] + opacity * colours[classes]
    present, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind='stable')
    lines = [
        (present[i], f'{names[present[i]]} {counts[i] / counts.sum():.1%}')
        for i in order
    ]
    step = max(14, len(image) // 40)
    font = ImageFont.load_default(size=0.8 * step)
    wide = 2 * step + max(int(font.getlength(text)) for _, text in lines)
    size = (image.shape[1] + wide, max(len(image), step * len(lines)))
    canvas = PIL.Image.new('RGB', size, 'white')
    canvas.paste(PIL.Image.fromarray(mixed.astype(np.uint8)))
    draw = ImageDraw.Draw(canvas)
    left = image.shape[1] + step // 4
    for row, (number, text) in enumerate(lines):
        top = row * step
        box = (left, top + 1, left + step, top + step - 2)
        draw.rectangle(box, fill=tuple(colours[number].tolist()), outline='black')
        draw.text((left + 1.3 * step, top), text, fill='black', font=font)
    return np.asarray(canvas)[..., ::-1]
