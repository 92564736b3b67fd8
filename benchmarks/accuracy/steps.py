"""Iterations of a training on scenes or pictures."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scenes import Scenes
from torch import Tensor, nn
from training import learning_rate


def steps(
    model: nn.Module, data: Scenes, samples: Any, settings: Any, seed: int
) -> Iterator[int]:
    """Train, an iteration at a time; yields how many are done."""
    from mmengine.optim import build_optim_wrapper

    optim_wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(
                type='AdamW',
                lr=settings.lr,
                weight_decay=settings.weight_decay,
                fused=True,
            ),
            paramwise_cfg=dict(norm_decay_mult=0.0),
        ),
    )
    rng = np.random.default_rng((seed, 3))
    order = np.empty(0, np.int64)
    for step in range(settings.iterations):
        while len(order) < settings.batch:
            order = np.append(order, rng.permutation(len(data.labels)))
        index, order = np.split(order, [settings.batch])
        flips = rng.random(settings.batch) < 0.5
        for group in optim_wrapper.param_groups:
            group['lr'] = learning_rate(step, settings)
        images = data.images[index]
        images[flips] = images[flips].flip(-1)
        batch = dict(inputs=[*images], data_samples=samples(data.labels[index], flips))
        model.train_step(batch, optim_wrapper)
        yield step + 1


def class_samples(labels: Tensor, flips: Any) -> list:
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(label) for label in labels.tolist()]


def map_samples(labels: Tensor, flips: Any) -> list:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = []
    for label, flip in zip(labels, flips, strict=True):
        sample = SegDataSample(metainfo=dict(img_shape=label.shape))
        shown = label.flip(-1) if flip else label
        sample.gt_sem_seg = PixelData(data=shown[None])
        samples.append(sample)
    return samples
