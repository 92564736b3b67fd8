from contextlib import ExitStack
from typing import Any

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor


def sequential_backward_step(
    model: Any, runs: Any, data: Any, optim_wrapper: OptimWrapper
) -> dict[str, Tensor]:
    """Run one optimizer step in which each pass runs backward before the next starts.

    It needs the memory of the largest pass and gives the same gradients as one backward
    of all passes. The published code of AugSub and stimulative training does the same.
    Without ``scheme.lean``, all views are one pass. ``runs`` is the module to call: the
    model, or its wrapper for several processes. Returns values to log, of all passes.
    """
    passes: list = model.scheme.passes if model.scheme.lean else [None]
    logs: dict[str, Tensor] = {}
    unlabelled = data.pop('unlabelled', None)
    data = model.data_preprocessor(data, True)
    try:
        for views in passes:
            model.sequential_views = views
            last = views is passes[-1]
            if last and unlabelled is not None:
                data['unlabelled'] = model.preprocess_unlabelled(unlabelled)
            with ExitStack() as stack:
                stack.enter_context(optim_wrapper.optim_context(runs))
                if not last and hasattr(runs, 'no_sync'):
                    # Gradients are exchanged once, when they are complete.
                    stack.enter_context(runs.no_sync())
                losses = runs._run_forward(data, mode='loss')
            loss, values = model.parse_losses(losses)
            if last and runs is not model:
                # DDP expects a gradient of every parameter, also of those that this
                # pass does not use (auxiliary heads).
                parts = [p.sum() for p in model.parameters() if p.requires_grad]
                loss = loss + 0.0 * torch.stack(parts).sum()
            # As upstream, outside of autocast.
            if last:
                optim_wrapper.update_params(loss)
            else:
                # Gradient accumulation counts a step once.
                count = optim_wrapper._inner_count
                optim_wrapper.backward(optim_wrapper.scale_loss(loss))
                optim_wrapper._inner_count = count
            for key, value in values.items():
                added = 'loss' in key and key in logs
                logs[key] = logs[key] + value if added else logs.get(key, value)
    finally:
        model.sequential_views = model.sequential_step = None
    if unlabelled is not None:
        model.unlabelled.after_step(model)
    return logs


@MODEL_WRAPPERS.register_module()
class CoTrainingDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's DDP wrapper, with sequential backward."""

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Run one optimizer step, with sequential backward if ``scheme.lean``."""
        scheme = getattr(self.module, 'scheme', None)
        if scheme is None or not (scheme.lean or 'unlabelled' in data):
            return super().train_step(data, optim_wrapper)
        return sequential_backward_step(self.module, self, data, optim_wrapper)
