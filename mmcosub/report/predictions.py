"""Predictions of a checkpoint on its run's validation images.

Shapes: ``C`` classes, ``N`` images, ``H, W`` the size of an image, ``K`` submodels.
Labels and predictions are classes (H, W), or () of a classifier.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.utils.data import Subset

from mmcosub.analysis.predictions import ignored_label
from mmcosub.analysis.steps import flips_channels
from mmcosub.analysis.submodel import (
    draw_factors,
    find_called_sites,
    predict_submodels,
    rates_of,
)
from mmcosub.checkpoints import load_for_prediction, read_checkpoint
from mmcosub.config.model_settings import classifies
from mmcosub.datasets.image_files import evenly_spread, viewable
from mmcosub.engine.prediction import loaded_image, stock_model

from .data import Classes, compare_classes, confusion, share_right, validation_data


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
            self.dataset: Any = validation_data(self.loader['dataset'])
            self.model = stock_model(cfg)
        self.ignored = ignored_label(self.model)
        self.total = total = len(self.dataset)
        self.indices = evenly_spread(total, min(images or total, total))
        meta = getattr(self.dataset, 'metainfo', None) or {}
        self.classes = [str(name) for name in meta.get('classes') or ()]
        palette = meta.get('palette')
        self.palette = np.array(palette, dtype=np.uint8) if palette else None
        saved = read_checkpoint(str(checkpoint), 'cpu', trust)
        compare_classes(saved, self.classes, checkpoint)
        load_for_prediction(self.model, saved, str(checkpoint))
        self.model.to(get_device())
        self.submodels = self._draw(cfg.get('scheme'), submodels)

    def evaluate(self) -> 'Predicted':
        """Predict the images."""
        count = len(self.classes)
        matrix = np.zeros((count, count), dtype=np.int64)
        right, files = [], []
        # Subset has no metainfo, which is not needed here.
        settings = {
            **self.loader,
            'dataset': Subset(self.dataset, self.indices),
            'sampler': dict(type='DefaultSampler', shuffle=False),
        }
        with DefaultScope.overwrite_default_scope(self.scope):
            loader = Runner.build_dataloader(settings, seed=0)
        for data in track(
            loader,
            description=f'{self.checkpoint.parent.name}: predicting',
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        ):
            with torch.no_grad():
                results = self.model.test_step(data)
            for result in results:
                label, prediction = self._classes_of(result)
                matrix += confusion(label, prediction, count, self.ignored)
                right.append(share_right(label, prediction, self.ignored))
                paths = (result.get(key) for key in ('img_path', 'seg_map_path'))
                files.append(tuple(path and os.path.abspath(path) for path in paths))
        return Predicted(self, matrix, np.array(right), files)

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
        kind = 'sem_seg' if self.segments else 'label'
        if f'gt_{kind}' not in result:
            raise ValueError(
                f'The validation samples have no label (gt_{kind}), so predictions '
                'cannot be compared with one. Have LoadAnnotations in the pipeline of '
                'val_dataloader, or leave out --run-config.'
            )
        found = [result.get(f'gt_{kind}'), result.get(f'pred_{kind}')]
        if not self.segments and len(found[0]) != 1:
            raise ValueError(
                'The validation images have several labels each, of which there is no '
                'confusion matrix. Leave out --run-config.'
            )
        found = [each.data[0] if self.segments else each[0] for each in found]
        label, prediction = (np.asarray(each.cpu(), dtype=np.int64) for each in found)
        return label, prediction


@dataclass
class Predicted:
    """Evaluated predictions: confusion counts (C, C), with labels in rows.

    By image: the fraction that is right, and the paths of it and its label map.
    """

    predictions: Predictions
    matrix: NDArray[np.int64]
    right: NDArray[np.float64]
    files: list[tuple]
