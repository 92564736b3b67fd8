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
    # OpenCV crashes on a whole name that is not in UTF-8.
    if not cv2.haveImageWriter(f'picture{path.suffix}'):
        raise ValueError(f'{path} does not end like an image, such as .png.')


def write_picture(path: Path, picture: Picture) -> None:
    """Write an image and its folder; ValueError if the suffix is not of an image."""
    check_picture_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())


def draw_prediction(
    model: Any, sample: Any, image: Picture, opacity: float = 0.5
) -> tuple[Picture, str]:
    """Draw a prediction over its image, and describe it.

    Args:
        model (nn.Module): Model of :func:`mmcosub.engine.prediction.load_model`.
        sample (SegDataSample | DataSample): A result of its ``test_step``.
        image (ndarray): The image for display.
        opacity (float): Opacity of a segmentor's classes, in (0, 1]. Defaults to 0.5.

    Returns:
        tuple: The picture, and the fraction of each class or, of a classifier, the
        predicted classes and their probabilities.
    """
    names = model.dataset_meta.get('classes')
    if 'pred_sem_seg' in sample:
        # A head with one output channel gives floating-point numbers.
        classes = sample.pred_sem_seg.data[0].long().cpu().numpy()
        drawn = overlay(image, classes, model.dataset_meta['palette'], names, opacity)
        return drawn, ', '.join(_fractions(classes, names).values())
    labels = sample.pred_label.tolist()  # of several labels as many as there are
    scores = sample.pred_score.tolist()
    said = [f'{names[n] if names else n}: {scores[n]:.1%}' for n in labels]
    text = ', '.join(said) or 'no class'
    drawn = image.copy()
    cv2.putText(drawn, text, (4, 16), 0, 0.5, (0, 0, 255))
    return drawn, text


def _fractions(classes: Any, names: Any) -> dict[int, str]:
    """Return a text on each class of a map, the largest first."""
    present, counts = np.unique(classes[classes < len(names)], return_counts=True)
    order = np.argsort(-counts, kind='stable')
    return {
        int(present[i]): f'{names[present[i]]}: {counts[i] / classes.size:.1%}'
        for i in order
    }


def overlay(
    image: Picture, classes: Any, palette: Any, names: Any, opacity: float = 0.5
) -> Picture:
    """Draw classes (H, W) over an image, with a legend; the palette (C, 3) is RGB."""
    colours = np.array(palette, np.uint8)
    known = classes < len(names)
    canvas = image[..., ::-1].copy()
    mixed = (1 - opacity) * canvas[known] + opacity * colours[classes[known]]
    canvas[known] = mixed.astype(np.uint8)
    legend = _fractions(classes, names)
    step = max(14, len(image) // 40)
    font = ImageFont.load_default(size=0.8 * step)
    wide = 2 * step + int(max(map(font.getlength, legend.values()), default=0))
    size = (image.shape[1] + wide, max(len(image), step * len(legend)))
    picture = PIL.Image.new('RGB', size, 'white')
    picture.paste(PIL.Image.fromarray(canvas))
    draw = ImageDraw.Draw(picture)
    left = image.shape[1] + step // 4
    for row, (number, line) in enumerate(legend.items()):
        top = row * step
        box = (left, top + 1, left + step, top + step - 2)
        draw.rectangle(box, fill=tuple(colours[number].tolist()), outline='black')
        draw.text((left + 1.3 * step, top), line, fill='black', font=font)
    return np.asarray(picture)[..., ::-1]
