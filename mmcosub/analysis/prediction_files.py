"""Predictions of image files, written as masks, overlays and tables."""

import csv
import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from mmcosub.datasets.listing import images_in
from mmcosub.engine.prediction import read_image
from mmcosub.hooks.prediction_hooks import write_label_map

from .pictures import overlay, write_picture
from .predictions import (
    check_probabilities,
    draw_factors,
    entropy,
    find_called_sites,
    predict_submodels,
    probabilities_of,
    rates_of,
)

Image = tuple[Path, np.ndarray, dict]
"""File of an image, a picture of it in BGR, and a batch of it alone."""


def find_images(
    given: Sequence[str], out: Path, suffixes: Collection[str] = ()
) -> dict[Path, str]:
    """Find images in files, folders (nested) and glob patterns, but not below ``out``.

    ``suffixes`` are of images in addition to the usual ones, in lower case. Returns the
    name of the outputs by image: its path without the ending below the folder that all
    have in common; with the ending if two images would have the same name. ValueError
    if something given has no image.
    """
    endings = {*IMG_EXTENSIONS, *suffixes}
    files: list[Path] = []
    folders: list[Path] = []
    for each in given:
        matches = [each] if os.path.exists(each) else glob.glob(each, recursive=True)
        found: list[Path] = []
        for match in map(Path, sorted(map(os.path.abspath, matches))):
            folders.append(match if match.is_dir() else match.parent)
            inside = images_in(match, endings) if match.is_dir() else [match]
            found += [file for file in inside if out.absolute() not in file.parents]
        if not found:
            raise ValueError(
                f'There is no image at {each}. Name files, folders with images '
                f'({", ".join(sorted(endings))}), or a pattern in quotes, such as '
                "'photos/**/*.jpg'."
            )
        files += found
    root = os.path.commonpath(folders)
    names = {file: os.path.relpath(file, root) for file in files}
    short = {file: os.path.splitext(name)[0] for file, name in names.items()}
    return short if len({*short.values()}) == len(short) else names


class PredictionFiles:
    """Predicts images and writes what is wanted of each.

    A segmentor's outputs go to the folders ``masks``, ``overlays``, ``probabilities``
    and ``uncertainty``, a classifier's to ``predictions.csv``. ``wanted`` are of
    'overlay', 'probabilities' and 'uncertainty', the latter of the mean of so many
    submodels or, with 0, of the full network.
    """

    def __init__(self, model: Any, out: Path, wanted: Any, submodels: int = 0) -> None:
        self.model, self.out, self.wanted = model, out, {*wanted}
        self.segments = hasattr(model, 'decode_head')
        self.submodels = submodels
        if self.wanted & {'probabilities', 'uncertainty'}:
            check_probabilities(model)
        self.names = model.dataset_meta.get('classes')
        self.rows: list[dict[str, object]] = []
        self.failed: list[str] = []

    def predict(self, images: Mapping[Path, str], batch_size: int) -> Iterator[Path]:
        """Predict images in batches of one size, and yield each that is done.

        An image that cannot be read is left out and noted in ``failed``.
        """
        for batch in self._batches(images, batch_size):
            self._predict(batch, images)
            yield from (file for file, *_ in batch)
        if self.rows and not self.segments:
            self.out.mkdir(parents=True, exist_ok=True)
            with (self.out / 'predictions.csv').open('w', newline='') as file:
                writer = csv.DictWriter(file, self.rows[0])
                writer.writeheader()
                writer.writerows(self.rows)

    def _batches(self, images: Mapping[Path, str], size: int) -> Iterator[list[Image]]:
        batch: list[Image] = []
        for file in images:
            try:
                picture, alone = read_image(self.model, str(file))
            except ValueError as error:
                self.failed.append(str(error))
                continue
            shapes = [each['inputs'][0].shape for *_, each in batch]
            if len(batch) == size or {*shapes} - {alone['inputs'][0].shape}:
                yield batch
                batch = []
            batch.append((file, picture, alone))
        if batch:
            yield batch

    @torch.inference_mode()
    def _predict(self, images: list[Image], names: Mapping[Path, str]) -> None:
        keys = images[0][2]
        batch = {key: [alone[key][0] for *_, alone in images] for key in keys}
        means = self._means(batch) if self.submodels else [None] * len(images)
        found = self.model.test_step(batch)
        write = self._write_segmentation if self.segments else self._write_class
        for (file, picture, _), sample, mean in zip(images, found, means, strict=True):
            row: dict[str, object] = dict(image=str(file))
            write(sample, picture, names[file], mean, row)
            self.rows.append(row)

    def _means(self, batch: dict) -> list[Tensor]:
        """Return the mean probabilities (C, ...) of submodels, of each image."""
        if not hasattr(self, 'factors'):
            self.sites = find_called_sites(self.model, batch)
            rates = rates_of(self.sites, self.model.cfg.get('scheme') or {})
            self.factors = draw_factors(rates, self.submodels, seed=0)
        sums: list[Any] = [0] * len(batch['inputs'])
        for found in predict_submodels(self.model, self.sites, self.factors, batch):
            sums = [
                each + probabilities_of(one)
                for each, one in zip(sums, found, strict=True)
            ]
        return [each / self.submodels for each in sums]

    def _write_segmentation(
        self, sample: Any, picture: Any, name: str, mean: Any, row: dict
    ) -> None:
        write_label_map(sample, self.out / 'masks' / f'{name}.png')
        if 'overlay' in self.wanted:
            classes = sample.pred_sem_seg.data[0].long().cpu().numpy()
            meta = self.model.dataset_meta
            drawn = overlay(picture, classes, meta['palette'], meta['classes'])
            write_picture(self.out / 'overlays' / f'{name}.png', drawn)
        if 'probabilities' in self.wanted:
            path = self.out / 'probabilities' / f'{name}.npz'
            path.parent.mkdir(parents=True, exist_ok=True)
            values = probabilities_of(sample).half().cpu().numpy()
            np.savez_compressed(path, probabilities=values)
        if 'uncertainty' in self.wanted:
            unsure = entropy(probabilities_of(sample) if mean is None else mean)
            grey = (255 * unsure.clamp(0, 1)).round().byte().cpu().numpy()
            write_picture(self.out / 'uncertainty' / f'{name}.png', grey)

    def _write_class(
        self, sample: Any, picture: Any, name: str, mean: Any, row: dict
    ) -> None:
        scores = sample.pred_score
        names = self.names or [*map(str, range(len(scores)))]
        labels = sample.pred_label.tolist()  # of several labels as many as there are
        row['class'] = ';'.join(names[label] for label in labels)
        row['probability'] = ';'.join(f'{scores[label]:.6f}' for label in labels)
        if 'uncertainty' in self.wanted:
            row['entropy'] = f'{entropy(scores if mean is None else mean):.6f}'
        if 'probabilities' in self.wanted:
            pairs = zip(names, scores.tolist(), strict=True)
            row.update({f'p({label})': f'{p:.6f}' for label, p in pairs})
        if 'overlay' in self.wanted:
            text = f'{row["class"]} {row["probability"]}'
            drawn = cv2.putText(picture, text, (4, 16), 0, 0.5, (0, 0, 255))
            write_picture(self.out / 'overlays' / f'{name}.png', drawn)
