"""FLOPs of training and prediction."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import prod
from statistics import mean
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmseg.models.decode_heads import decode_head
from torch.utils.flop_counter import FlopCounterMode

from mmcosub.checkpoints import without_memory

from .steps import Shape, build_model, predicting_step, random_batch, training_step

aten = torch.ops.aten


def _addmm(_: Any, a: Any, b: Any, **kwargs: Any) -> int:
    return 2 * prod(a) * b[-1]


# In-place operations that PyTorch's counter does not know.
_MORE = {aten.addmm_: _addmm, aten.baddbmm_: _addmm}


def count_flops(call: Callable[[], object]) -> int:
    """Count FLOPs of matrix products, convolutions and attention."""
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        call()
    return counter.get_total_flops()


class Work(NamedTuple):
    """FLOPs of a config's model for one image.

    Args:
        parameters (int): Number of the model's parameters.
        prediction (float): FLOPs of prediction.
        plain (float): FLOPs of a baseline step, forward and backward.
        co_trained (list[float]): FLOPs of a co-trained step, one entry for each draw of
            submodels; empty without a scheme.
    """

    parameters: int
    prediction: float
    plain: float
    co_trained: list[float]

    @property
    def ratio(self) -> float:
        """Expected cost of a co-trained step relative to a baseline step."""
        return mean(self.co_trained) / self.plain


def count_work(cfg: Config, shape: Shape, batch: int = 2, draws: int = 8) -> Work:
    """Count FLOPs of prediction, baseline training and co-training.

    Counts real steps on random images with submodels drawn as in training. So prefix
    sharing, heads that run for every view and BatchNorms that need every row are
    included. Steps run on the meta device unless ``cfg.fast`` is set or a loss depends
    on values.

    Args:
        cfg (Config): The config, with ``scheme`` to count co-training.
        shape (tuple[int, int]): Height and width of an image.
        batch (int): Images in a step. Defaults to 2.
        draws (int): Number of co-trained steps to run. Defaults to 8.
    """
    if not cfg.get('fast'):
        # In upstream segmentors only `accuracy` depends on values; it needs no FLOPs.
        accuracy, nothing = decode_head.accuracy, torch.zeros(1)
        decode_head.accuracy = lambda *_, **__: nothing
        try:
            return _count_work(cfg, shape, batch, draws, without_memory)
        except (NotImplementedError, RuntimeError):
            pass
        finally:
            decode_head.accuracy = accuracy
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
    model.train()
    plain = count_flops(lambda: training_step(model, images)) / batch
    model.eval()
    prediction = count_flops(lambda: predicting_step(model, images)) / batch
    parameters = sum(p.numel() for p in model.parameters())
    co_trained: list[float] = []
    if cfg.get('scheme'):
        with built():
            # Without the check before the first step, which is no work of a step.
            trained = build_model(cfg, {**cfg.scheme, 'check_network': False})
        trained.train()
        co_trained = [
            count_flops(lambda: training_step(trained, images)) / batch
            for _ in range(draws)
        ]
    return Work(parameters, prediction, plain, co_trained)
