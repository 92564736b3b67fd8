"""Predictions of image files, written as masks, overlays and tables."""

import copy
import csv
import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from mmcosub.config.errors import in_one_line
from mmcosub.datasets.listing import images_in
from mmcosub.engine.prediction import odd_spread, read_image, steps_of_pipeline
from mmcosub.files import ANY_NAME, claim_outputs
from mmcosub.hooks.prediction_hooks import write_label_map

from .pictures import draw_prediction, write_picture
from .predictions import check_probabilities, entropy, probabilities_of

_LOOKED_AT = 20
"""Images of which the values are compared with those of training."""

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
    outputs = Path(os.path.abspath(out))
    files: list[Path] = []
    folders: list[Path] = []
    for each in given:
        matches = [each] if os.path.exists(each) else glob.glob(each, recursive=True)
        inside: list[Path] = []
        for match in map(Path, sorted(map(os.path.abspath, matches))):
            folders.append(match if match.is_dir() else match.parent)
            inside += images_in(match, endings) if match.is_dir() else [match]
        found = [file for file in inside if outputs not in file.parents]
        if not found:
            outside = f' outside of --out {out}' if inside else ''
            raise ValueError(
                f'There is no image at {each}{outside}. Name files, folders with '
                f'images ({", ".join(sorted(endings))}), or a pattern in quotes, such '
                "as 'photos/**/*.jpg'."
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
    'overlay', 'probabilities' and 'uncertainty'.
    """

    def __init__(self, model: Any, out: Path, wanted: Any) -> None:
        self.model, self.out, self.wanted = model, out, {*wanted}
        self.segments = hasattr(model, 'decode_head')
        if self.wanted & {'probabilities', 'uncertainty'}:
            check_probabilities(model)
        self.names = model.dataset_meta.get('classes')
        self.rows: list[dict[str, object]] = []
        self.failed: list[str] = []
        self._spreads: list[str] = []

    def predict(self, images: Mapping[Path, str], batch_size: int) -> Iterator[Path]:
        """Predict images in batches of one size, and yield each that is done.

        An image that cannot be read or predicted is left out and noted in ``failed``.
        """
        folders = ['masks/*', 'probabilities/*', 'uncertainty/*']
        outputs = folders if self.segments else ['predictions.csv']
        claim_outputs(self.out, 'overlays/*', *outputs)
        for batch in self._batches(images, batch_size):
            done = len(self.rows)
            self._predict(batch, images)
            if not self.segments:
                self._write_rows(self.rows[done:], 'a' if done else 'w')
            yield from (file for file, *_ in batch)

    def _look_at(self, batch: dict) -> None:
        steps = steps_of_pipeline(self.model.cfg)
        spread = odd_spread(self.model.data_preprocessor, batch, steps)
        self._spreads.append(spread)

    @property
    def odd(self) -> str:
        """A warning if the values of the first images are odd, of each; else ''."""
        if not self._spreads or not all(self._spreads):
            return ''
        return (
            f'warning: the first images have {self._spreads[0]} after normalisation, '
            'and should have about 0 and 1: they have another range of values (such as '
            '16 in place of 8 bits) than those of training.'
        )

    def _write_rows(self, rows: Sequence[dict], mode: str) -> None:
        """Write the rows of a batch at once, so that a stop loses none."""
        if not rows:
            return
        table: Any = self.out / 'predictions.csv'
        with table.open(mode, newline='', **ANY_NAME) as file:
            writer = csv.DictWriter(file, rows[0])
            if mode == 'w':
                writer.writeheader()
            writer.writerows(rows)

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
        try:
            if len(self._spreads) < _LOOKED_AT:
                self._look_at(copy.deepcopy(batch))
            found = self.model.test_step(batch)
        except Exception as error:  # of any network, such as for an image too narrow
            if len(images) == 1:
                self.failed.append(f'{images[0][0]} ({in_one_line(error)})')
                return
            for image in images:
                self._predict([image], names)
            return
        write = self._write_segmentation if self.segments else self._write_class
        for (file, picture, _), sample in zip(images, found, strict=True):
            row: dict[str, object] = dict(image=str(file))
            write(sample, names[file], row)
            self.rows.append(row)
            if 'overlay' in self.wanted:
                drawn, _ = draw_prediction(self.model, sample, picture)
                write_picture(self.out / 'overlays' / f'{names[file]}.png', drawn)

    def _write_segmentation(self, sample: Any, name: str, row: dict) -> None:
        write_label_map(sample, self.out / 'masks' / f'{name}.png')
        if 'probabilities' in self.wanted:
            path = self.out / 'probabilities' / f'{name}.npz'
            path.parent.mkdir(parents=True, exist_ok=True)
            values = probabilities_of(sample).half().cpu().numpy()
            np.savez_compressed(path, probabilities=values)
        if 'uncertainty' in self.wanted:
            unsure = entropy(probabilities_of(sample))
            grey = (255 * unsure.clamp(0, 1)).round().byte().cpu().numpy()
            write_picture(self.out / 'uncertainty' / f'{name}.png', grey)

    def _write_class(self, sample: Any, name: str, row: dict) -> None:
        scores = sample.pred_score
        names = self.names or [*map(str, range(len(scores)))]
        labels = sample.pred_label.tolist()  # of several labels as many as there are
        row['class'] = ';'.join(names[label] for label in labels)
        row['probability'] = ';'.join(f'{scores[label]:.6f}' for label in labels)
        if 'uncertainty' in self.wanted:
            row['entropy'] = f'{entropy(scores):.6f}'
        if 'probabilities' in self.wanted:
            pairs = zip(names, scores.tolist(), strict=True)
            row.update({f'p({label})': f'{p:.6f}' for label, p in pairs})
