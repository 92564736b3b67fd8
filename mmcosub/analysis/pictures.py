"""Pictures: overlays of classes, and writing them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""In BGR, of shape (H, W, 3)."""


def check_picture_name(path: Path) -> None:
    """Raise ValueError if OpenCV cannot write the format of a file's suffix."""
    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f'{path} does not end like an image, such as .png.')


def write_picture(path: Path, picture: Picture) -> None:
    """Write an image and its folder; ValueError if the suffix is not of an image."""
    check_picture_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):  # without a reason
        raise OSError(f'{path} cannot be written.')


def overlay(
    image: Picture, classes: Any, palette: Any, names: Any, opacity: float = 0.5
) -> Picture:
    """Draw classes (H, W) over an image, with a legend; the palette (C, 3) is RGB."""
    colours = np.array(palette, np.uint8)
    known = classes < len(names)
    canvas = image[..., ::-1].copy()
    mixed = (1 - opacity) * canvas[known] + opacity * colours[classes[known]]
    canvas[known] = mixed.astype(np.uint8)
    present, counts = np.unique(classes[known], return_counts=True)
    order = np.argsort(-counts, kind='stable')
    lines = [f'{names[present[i]]} {counts[i] / classes.size:.1%}' for i in order]
    step = max(14, len(image) // 40)
    font = ImageFont.load_default(size=0.8 * step)
    wide = 2 * step + max((int(font.getlength(line)) for line in lines), default=0)
    size = (image.shape[1] + wide, max(len(image), step * len(lines)))
    picture = PIL.Image.new('RGB', size, 'white')
    picture.paste(PIL.Image.fromarray(canvas))
    draw = ImageDraw.Draw(picture)
    left = image.shape[1] + step // 4
    for row, (number, line) in enumerate(zip(present[order], lines, strict=True)):
        top = row * step
        box = (left, top + 1, left + step, top + step - 2)
        draw.rectangle(box, fill=tuple(colours[number].tolist()), outline='black')
        draw.text((left + 1.3 * step, top), line, fill='black', font=font)
    return np.asarray(picture)[..., ::-1]
