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
    """Refuse a file whose ending is of no picture.

    Args:
        path (Path): The file that is to be.

    Raises:
        ValueError: If OpenCV writes none of this ending.
    """
    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f'{path} has not the ending of a picture, such as .png.')


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture; its folder is made.

    Args:
        path (Path): The file.
        picture (ndarray): In BGR, of shape (H, W, 3).

    Raises:
        ValueError: If its ending is of no picture.
        OSError: If it cannot be written.
    """
    check_picture_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):  # it says no more
        raise OSError(f'{path} cannot be written.')


class DisagreementPictures:
    """Writes an image, what the submodels' mean predicts, and where they differ.

    The last is a map from black, where all submodels predict the same, to light yellow,
    where no two do; the scale is the same for all images. A picture has its image's
    name; where several have one, those that come later have their folders' before it.

    Args:
        folder (Path): Where to write them; it is made.
        palette (Sequence): Colours of the classes in RGB, of shape (C, 3).
    """

    def __init__(self, folder: Path, palette: Any) -> None:
        self.folder = folder
        self.palette = np.array(palette, np.uint8)
        self.names: dict[str, str] = {}

    def __call__(self, sample: Any, ensemble: Ensemble) -> None:
        """Write an image's picture.

        Args:
            sample (SegDataSample): The image, with the path that it is from.
            ensemble (Ensemble): Predictions of the submodels for it.
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
