"""Iterations of a training on scenes or pictures."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from fashion import recoloured
from scenes import Scenes
from torch import Tensor, nn
from training import learning_rate

from mmcosub.schemes.unlabelled import IMAGE


def steps(
    model: nn.Module,
    data: Scenes,
    samples: Any,
    settings: Any,
    seed: int,
    unlabelled: Iterator[dict] | None = None,
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
        if unlabelled is not None:
            batch['unlabelled'] = next(unlabelled)
        model.train_step(batch, optim_wrapper)
        yield step + 1


def unlabelled_batches(images: Tensor, batch: int, seed: int) -> Iterator[dict]:
    """Batches of unlabelled scenes, weakly and strongly augmented, for ever.

    The weak image is flipped at random. The strong one has another brightness, another
    colour and noise on top, so that its pixels stay where they are.

    Args:
        images (Tensor): Of shape (N, 3, size, size), values 0 to 255.
        batch (int): Images in a batch.
        seed (int): Seed of order and augmentation.
    """
    rng = np.random.default_rng((seed, 4))
    order = np.empty(0, np.int64)
    while True:
        while len(order) < batch:
            order = np.append(order, rng.permutation(len(images)))
        index, order = np.split(order, [batch])
        flips = rng.random(batch) < 0.5
        weak = images[index]
        weak[flips] = weak[flips].flip(-1)
        strong = recoloured(weak, rng)
        samples = map_samples(torch.full((batch, *weak.shape[2:]), IMAGE), flips)
        strong = strong.round().clamp(0, 255).to(weak.dtype)
        yield dict(weak=[*weak], strong=[*strong], data_samples=samples)


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
