"""Hooks that write or draw predictions."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.engine.hooks import VisualizationHook
from PIL import Image

from mmcosub.datasets.guard import leaves
from mmcosub.files import claim_outputs
from mmcosub.registry import HOOKS


@HOOKS.register_module()
class LabelMapHook(Hook):
    """Hook that writes predicted label maps, in the images' subfolders.

    MMSegmentation's metrics write into one folder, where images of the same name
    overwrite each other. Values are those of the label files: with
    ``reduce_zero_label``, the class plus 1.

    Args:
        out (str): Folder to write to.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)

    def before_test(self, runner: Runner) -> None:
        """Raise if an output file would overwrite another, or one of somebody else."""
        dataset: Any = runner.test_dataloader.dataset
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        images = {str(info['img_path']) for info in infos}
        prefixes = (getattr(leaf, 'data_prefix', None) for leaf in leaves(dataset))
        found = {each.get('img_path') for each in prefixes if each} - {None, ''}
        folders = found or {*map(os.path.dirname, images)}
        self.root = os.path.commonpath([os.path.abspath(each) for each in folders])
        files = {
            info.get(key) for info in infos for key in ('img_path', 'seg_map_path')
        }
        data = {os.path.abspath(file) for file in files if file}
        taken: dict[Path, str] = {}
        for image in sorted(images):
            place = self._place(image)
            other = taken.setdefault(place, image)
            if other != image or os.path.abspath(place) in data:
                raise ValueError(
                    f'--out: the prediction of {image} would overwrite {place}, which '
                    f'is of the data or of {other}. Choose another folder, or rename '
                    'the image.'
                )
        claim_outputs(self.out, '**/*.png')

    def after_test_iter(
        self, runner: Runner, outputs: Sequence | None, **batch: Any
    ) -> None:
        """Write the predictions of a batch; raise if they are no label maps."""
        for sample in outputs or ():
            write_label_map(sample, self._place(sample.img_path))

    def _place(self, image: str) -> Path:
        return self.out / Path(os.path.relpath(image, self.root)).with_suffix('.png')


def write_label_map(sample: Any, path: Path) -> None:
    """Write a predicted label map, with the values of label files, and its folder."""
    if 'pred_sem_seg' not in sample:
        raise ValueError('--out: the model predicts no label maps to save.')
    labels = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.int64)
    labels += bool(sample.get('reduce_zero_label', False))
    path.parent.mkdir(parents=True, exist_ok=True)
    wide = labels.max() > np.iinfo(np.uint8).max
    Image.fromarray(labels.astype(np.uint16 if wide else np.uint8)).save(path)


@HOOKS.register_module()
class TTAVisualizationHook(VisualizationHook):
    """mmpretrain's ``VisualizationHook``, also under test-time augmentation.

    Such a batch has several versions of every image; the first one is drawn.
    """

    def _draw_samples(
        self, batch_idx: int, data_batch: dict, data_samples: Sequence, step: int = 0
    ) -> None:
        images: Any = data_batch['inputs']
        # One entry for each version, with the images of the batch.
        if isinstance(images, list | tuple) and images[0].ndim != 3:
            data_batch = {**data_batch, 'inputs': images[0]}
        super()._draw_samples(batch_idx, data_batch, data_samples, step)
