"""FLOPs, parameters and time of training, prediction and submodels."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from math import prod
from statistics import mean
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from mmengine.config import Config
from mmseg.models.decode_heads import decode_head
from torch.utils.flop_counter import FlopCounterMode

from mmcosub.config.model_settings import without_memory

from .network import Kept, Network
from .steps import Shape, build_model, predicting_step, random_batch, training_step

aten = torch.ops.aten
WARMUP = 1
"""Number of warm-up rounds of timing."""


def _addmm(_: Any, a: Any, b: Any, **kwargs: Any) -> int:
    return 2 * prod(a) * b[-1]


# In-place operations that PyTorch's counter does not know.
_MORE = {aten.addmm_: _addmm, aten.baddbmm_: _addmm}


def count_flops(call: Callable[[], object]) -> int:
    """Count matrix products, convolutions, attention; a multiply-add counts as two."""
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        call()
    return counter.get_total_flops()


class Work(NamedTuple):
    """FLOPs for one image; ``co_trained`` has those of each draw of submodels."""

    parameters: int
    prediction: float
    plain: float
    co_trained: list[float]

    @property
    def ratio(self) -> float:
        """Expected cost of a co-trained step relative to a baseline step."""
        return mean(self.co_trained) / self.plain


def count_work(cfg: Config, shape: Shape, batch: int = 2, draws: int = 8) -> Work:
    """Count FLOPs of prediction, baseline training and co-training in real steps.

    They run on the meta device unless ``cfg.fast`` is set or a loss depends on values.
    Each of the ``draws`` co-trained steps has its own submodels.
    """
    # In upstream segmentors only `accuracy` depends on values; it needs no FLOPs.
    nothing = torch.zeros(1)
    without = patch.object(decode_head, 'accuracy', lambda *_, **__: nothing)
    if not cfg.get('fast'):
        with without, suppress(NotImplementedError, RuntimeError):
            return _count_work(cfg, shape, batch, draws, without_memory)
    return _count_work(cfg, shape, batch, draws, nullcontext)


def _count_work(
    cfg: Config,
    shape: Shape,
    batch: int,
    draws: int,
    built: Callable[[], AbstractContextManager],
) -> Work:
    """Count with models built within a context."""
    with built():
        model = build_model(cfg)
    images = random_batch(model, shape, batch)

    def per_image(step: Callable, model: Any) -> float:
        return count_flops(lambda: step(model, images)) / batch

    plain = per_image(training_step, model.train())
    prediction = per_image(predicting_step, model.eval())
    parameters = sum(p.numel() for p in model.parameters())
    co_trained: list[float] = []
    if cfg.get('scheme'):
        with built():
            # Without the check before the first step, which is no work of a step.
            trained = build_model(cfg, {**cfg.scheme, 'check_network': False}).train()
        co_trained = [per_image(training_step, trained) for _ in range(draws)]
    return Work(parameters, prediction, plain, co_trained)


@torch.inference_mode()
def submodel_work(network: Network, kept: Kept) -> dict[str, int]:
    """Return FLOPs really computed for one image, and parameters of the backbone."""
    with network.submodel(kept):
        flops = count_flops(lambda: network.model(network.image, mode='tensor'))
        backbone_flops = count_flops(lambda: network.backbone(network.image))
    left_out = {s.block for s in network.sites if s.depth not in kept}
    saved = sum(p.numel() for block in left_out for p in block.parameters())
    left = sum(p.numel() for p in network.backbone.parameters()) - saved
    return dict(flops=flops, backbone_flops=backbone_flops, backbone_parameters=left)


@torch.inference_mode()
def time_submodels(
    network: Network,
    submodels: Sequence[Kept],
    rounds: int,
    tick: Callable[[], object] = lambda: None,
) -> list[dict[str, float]]:
    """Return the median time of one image, and of its ratio to the first submodel.

    Ratios are of one round, in which submodels alternate, as timings are noisy.
    ``time_low`` and ``time_high`` are their quartiles.
    """
    times = np.zeros((len(submodels), rounds))
    for i in range(-WARMUP, rounds):
        for j, kept in enumerate(submodels):
            with network.submodel(kept):
                _finish()
                start = time.perf_counter()
                network.model(network.image, mode='tensor')
                _finish()
            if i >= 0:
                times[j, i] = time.perf_counter() - start
            tick()
    names = ('time_low', 'time_ratio', 'time_high')
    ratios = np.percentile(times / times[0], [25, 50, 75], axis=1).T.tolist()
    medians = np.median(times, axis=1).tolist()
    return [
        dict(zip(names, of_one, strict=True), seconds=seconds)
        for of_one, seconds in zip(ratios, medians, strict=True)
    ]


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
