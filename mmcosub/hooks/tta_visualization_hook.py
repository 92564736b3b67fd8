from collections.abc import Sequence
from typing import Any

from mmpretrain.engine.hooks import VisualizationHook

from mmcosub.registry import HOOKS


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
