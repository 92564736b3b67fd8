"""Gradients of an unfinished accumulation, saved and restored."""

from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.runner import Runner
from torch import nn

from . import unwrapped


def collect_gradients(runner: Runner) -> list[dict] | None:
    """Return gradients of an unfinished accumulation, one dict a rank, or None.

    Each rank has its own until they are reduced.
    """
    wrapper: Any = runner.optim_wrapper
    counts = getattr(wrapper, '_accumulative_counts', 1)
    if counts == 1 or wrapper._inner_count % counts == 0:
        return None
    own = {
        name: parameter.grad.cpu()
        for name, parameter in _parameters(runner)
        if parameter.grad is not None
    }
    return all_gather_object(own)  # NCCL cannot gather objects on one rank


def restore_gradients(runner: Runner, gradients: list[dict]) -> None:
    """Restore the gradients of :func:`collect_gradients`.

    On another number of ranks, each takes their mean, as a reduction would give.
    """
    if len(gradients) == runner.world_size:
        own = gradients[runner.rank]
    else:
        own = {
            name: sum(each.get(name, 0.0) for each in gradients) / len(gradients)
            for name in {name for each in gradients for name in each}
        }
    for name, parameter in _parameters(runner):
        if name in own:
            parameter.grad = own[name].to(parameter)


def _parameters(runner: Runner) -> Iterator[tuple[str, nn.Parameter]]:
    return unwrapped(runner.model).named_parameters()
