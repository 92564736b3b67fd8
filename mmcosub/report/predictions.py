"""Predictions of a checkpoint on its run's validation images.

Shapes: ``C`` classes, ``N`` images, ``H, W`` the size of an image, ``K`` submodels.
Labels and predictions are classes (H, W), or () of a classifier.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.utils.data import Subset

from mmcosub.analysis.predictions import (
    draw_factors,
    find_called_sites,
    ignored_label,
    labels_of,
    predict_submodels,
    rates_of,
)
from mmcosub.analysis.steps import flips_channels
from mmcosub.checkpoints import load_for_prediction, read_checkpoint
from mmcosub.config.model_settings import classifies
from mmcosub.datasets.image_files import evenly_spread, viewable
from mmcosub.engine.prediction import loaded_image, stock_model

from .classes import Classes, class_iou, class_recall, confusion, share_right


@dataclass
class Sample:
    """Image (H, W, 3) in RGB, with label and prediction.

    ``disagreement`` is the fraction of the submodels that predict another class, None
    without submodels; ``right`` the fraction of the labels that is predicted.
    """

    name: str
    image: NDArray[np.uint8]
    label: Classes
    prediction: Classes
    disagreement: NDArray[np.float64] | None
    right: float


class Predictions:
    """Runner of a checkpoint on the validation images of its run's config.

    On all images, or a number that is evenly spread. For co-trained runs, submodels
    predict the images of the gallery. ValueError if the checkpoint does not fit the
    config or the data, or images have no label map or not exactly one label.
    """

    matrix: NDArray[np.int64]
    """Confusion counts (C, C), labels in rows."""
    right: NDArray[np.float64]
    """Fraction of the labels of each image that is predicted, (N, )."""
    files: list[tuple]
    """Paths of each image and its label map."""

    def __init__(
        self,
        cfg: Config,
        checkpoint: Path,
        images: int | None = None,
        submodels: int = 4,
        trust: bool = False,
    ) -> None:
        self.scope: str = cfg.get('default_scope') or 'mmseg'
        self.checkpoint = checkpoint
        self.segments = not classifies(cfg)
        self.loader = cfg.get('val_dataloader') or cfg.get('test_dataloader')
        if not self.loader:
            raise ValueError(
                'The config has neither val_dataloader nor test_dataloader, so there '
                'are no images to predict: leave out --run-config.'
            )
        with DefaultScope.overwrite_default_scope(self.scope):
            self.dataset: Any = _build_data(self.loader['dataset'])
            self.model = stock_model(cfg)
        self.ignored = ignored_label(self.model)
        self.total = total = len(self.dataset)
        self.indices = evenly_spread(total, min(images or total, total))
        meta = getattr(self.dataset, 'metainfo', None) or {}
        self.classes = [str(name) for name in meta.get('classes') or ()]
        colours = np.random.default_rng(0).integers(40, 220, (len(self.classes), 3))
        self.palette = np.array(meta.get('palette') or colours, dtype=np.uint8)
        saved = read_checkpoint(str(checkpoint), 'cpu', trust)
        _compare_classes(saved, self.classes, checkpoint)
        load_for_prediction(self.model, saved, str(checkpoint))
        self.model.to(get_device())
        self.submodels = self._draw(cfg.get('scheme'), submodels)

    def evaluate(self) -> 'Predictions':
        """Predict the images: sets ``matrix``, ``right`` and ``files``."""
        count = len(self.classes)
        self.matrix = np.zeros((count, count), dtype=np.int64)
        self.files, right = [], []
        # Subset has no metainfo, which is not needed here.
        settings = {
            **self.loader,
            'dataset': Subset(self.dataset, self.indices),
            'sampler': dict(type='DefaultSampler', shuffle=False),
        }
        with DefaultScope.overwrite_default_scope(self.scope):
            loader = Runner.build_dataloader(settings, seed=0)
        what = f'{self.checkpoint.parent.name}: predicting'
        for data in track(loader, what, console=Console(stderr=True)):
            with torch.no_grad():
                results = self.model.test_step(data)
            for result in results:
                label, prediction = self._classes_of(result)
                self.matrix += confusion(label, prediction, count, self.ignored)
                right.append(share_right(label, prediction, self.ignored))
                paths = (result.get(key) for key in ('img_path', 'seg_map_path'))
                self.files.append(tuple(p and os.path.abspath(p) for p in paths))
        self.right = np.array(right)
        return self

    def by_class(self) -> dict[str, float]:
        """Return the IoU of each class or, of a classifier, its recall, in percent."""
        measure = class_iou if self.segments else class_recall
        return dict(zip(self.classes, 100 * measure(self.matrix), strict=True))

    def sample(self, number: int) -> Sample:
        """Return one of the N images with predictions of the model and submodels."""
        data = self._data(number)
        with torch.no_grad():
            (result,) = self.model.test_step(data)
            label, prediction = self._classes_of(result)
            others = [
                self._classes_of(other)[1] != prediction
                for (other,) in predict_submodels(
                    self.model, self.sites, self.submodels, data
                )
            ]
        path = Path(str(result.get('img_path') or ''))
        # Class folders often contain files of the same names.
        name = path.stem if self.segments else '/'.join(path.parts[-2:])
        return Sample(
            name=name or str(self.indices[number]),
            image=self._image(number, data['inputs'][0]),
            label=label,
            prediction=prediction,
            disagreement=np.mean(others, axis=0) if others else None,
            right=share_right(label, prediction, self.ignored),
        )

    def _draw(self, scheme: dict | None, number: int) -> NDArray[np.float64]:
        """Draw factors of submodels; none for a baseline or without rates."""
        self.sites: list[Any] = []
        if not scheme:
            return np.zeros((0, 0))
        self.sites = find_called_sites(self.model, self._data(0))
        try:
            rates = rates_of(self.sites, scheme)
        except ValueError:  # without rates, there are no submodels
            return np.zeros((0, 0))
        return draw_factors(rates, number, seed=0)

    def _data(self, number: int) -> Any:
        """Return a batch of one image."""
        return pseudo_collate([self.dataset[self.indices[number]]])

    def _image(self, number: int, inputs: Any) -> NDArray[np.uint8]:
        """Return an RGB image as loaded, or the model's input without a file."""
        info = self.dataset.get_data_info(self.indices[number])
        if Path(str(info.get('img_path') or '')).is_file():
            loaded = loaded_image(self.dataset.pipeline.transforms, info)
            return viewable(loaded)[..., ::-1]
        image = viewable(inputs.permute(1, 2, 0).cpu().numpy())
        return image[..., ::-1] if flips_channels(self.model) else image

    def _classes_of(self, result: Any) -> tuple[Classes, Classes]:
        """Return label and prediction of a result."""
        label = labels_of(result)
        if label is None:
            raise ValueError(
                'The validation images have no label, or several each, so there is no '
                'confusion matrix. Have LoadAnnotations in the pipeline of '
                'val_dataloader, or leave out --run-config.'
            )
        found = result.pred_sem_seg.data if self.segments else result.pred_label
        maps = (label, found[0])
        label_map, prediction = (np.asarray(m.cpu(), dtype=np.int64) for m in maps)
        return label_map, prediction


def _build_data(dataset: Any) -> Any:
    """Build a dataset; ValueError if there are no images at its paths."""
    reason = 'there are no images'
    try:
        built = DATASETS.build(dataset)
        if hasattr(built, 'full_init'):
            built.full_init()
        if len(built):
            return built
    except (OSError, ValueError) as error:  # MMEngine raises ValueError without images
        reason = str(error)
    raise ValueError(
        'The validation data are not where the config has them '
        f'(data_root={dataset.get("data_root")!r}: {reason}). Say where: --cfg-options '
        'val_dataloader.dataset.data_root=FOLDER, or leave out --run-config.'
    )


def _compare_classes(saved: dict, classes: list[str], checkpoint: Path) -> None:
    """Raise ValueError if data and checkpoint have different classes, or data none."""
    meta = (saved.get('meta') or {}).get('dataset_meta') or {}
    trained = [str(name) for name in meta.get('classes') or ()] or classes
    if classes and trained == classes:
        return
    other = sorted({*trained} ^ {*classes})[:4] or 'the same in another order'
    raise ValueError(
        f'{checkpoint} was trained on other classes than the validation data have '
        f'({other}), or the data do not say theirs (metainfo). Set '
        'val_dataloader.dataset to data of the same classes with --cfg-options, or '
        'leave out --run-config.'
    )
