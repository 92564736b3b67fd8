"""Where submodels disagree, as a picture."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .disagreement import Ensemble

Picture = NDArray[np.uint8]


class DisagreementPictures:
    """Writes an image, what the submodels' mean predicts, and where they differ.

    The last is a map from black, where all submodels predict the same, to light yellow,
    where no two do; the scale is the same for all images.

    Args:
        folder (Path): Where to write them; it is made.
        palette (Sequence): Colours of the classes in RGB, of shape (C, 3).
    """

    def __init__(self, folder: Path, palette: Any) -> None:
        self.folder = folder
        self.palette = np.array(palette, np.uint8)
        folder.mkdir(parents=True, exist_ok=True)

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
        name = f'{Path(sample.img_path).stem}.png'
        if not cv2.imwrite(str(self.folder / name), np.hstack(row)):
            raise OSError(f'{self.folder / name} cannot be written.')
