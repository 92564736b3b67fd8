"""FLOPs and parameters of training, prediction and submodels."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from math import prod
from statistics import mean
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmseg.models.decode_heads import decode_head
from torch.utils.flop_counter import FlopCounterMode

from mmcosub.config.model_settings import without_memory
from mmcosub.submodels import temporarily

from .steps import Shape, build_model, predicting_step, random_batch, training_step

aten = torch.ops.aten


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
    module: Any = decode_head
    without = temporarily([module], accuracy=lambda *_, **__: nothing)
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
