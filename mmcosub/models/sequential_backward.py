from contextlib import ExitStack
from typing import Any

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS


def sequential_backward_step(
    model: Any, runs: Any, data: Any, optim_wrapper: OptimWrapper
) -> dict[str, torch.Tensor]:
    """One optimizer step in which each pass runs backward before the next one starts.

    The memory is that of the largest pass, the gradients are those of all passes at
    once. AugSub's and stimulative training's code do the same by hand.

    Args:
        model (CoTraining): The model.
        runs (nn.Module): What is called: the model, or its wrapper for several
            processes.
        data (dict | tuple | list): A batch of the data loader.
        optim_wrapper (OptimWrapper): Accumulates gradients and updates.

    Returns:
        dict[str, Tensor]: Values to log, of all passes.
    """
    passes: list = model.scheme.passes if model.scheme.lean else [None]
    logs: dict[str, torch.Tensor] = {}
    unlabelled = data.pop('unlabelled', None)
    data = model.data_preprocessor(data, True)
    try:
        for views in passes:
            model.lean_views = views
            last = views is passes[-1]
            if last and unlabelled is not None:
                data['unlabelled'] = model.unlabelled.preprocess(model, unlabelled)
            with ExitStack() as stack:
                stack.enter_context(optim_wrapper.optim_context(runs))
                if not last and hasattr(runs, 'no_sync'):
                    # Gradients are exchanged once, when they are complete.
                    stack.enter_context(runs.no_sync())
                losses = runs._run_forward(data, mode='loss')
            loss, values = model.parse_losses(losses)
            if last and runs is not model:
                # Every parameter has a gradient here, as the exchange expects, also
                # those (auxiliary heads') that this pass does not use.
                parts = [p.sum() for p in model.parameters() if p.requires_grad]
                loss = loss + 0.0 * torch.stack(parts).sum()
            # As in the stock step, outside of autocast.
            if last:
                optim_wrapper.update_params(loss)
            else:
                # One step counts once where gradients are accumulated.
                count = optim_wrapper._inner_count
                optim_wrapper.backward(optim_wrapper.scale_loss(loss))
                optim_wrapper._inner_count = count
            for key, value in values.items():
                added = 'loss' in key and key in logs
                logs[key] = logs[key] + value if added else logs.get(key, value)
    finally:
        model.lean_views = model.lean_iteration = None
    if unlabelled is not None:
        model.unlabelled.after_step(model, model)
    return logs


@MODEL_WRAPPERS.register_module()
class CoTrainingDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's wrapper for several processes, with lean steps."""

    def train_step(
        self, data: Any, optim_wrapper: OptimWrapper
    ) -> dict[str, torch.Tensor]:
        """Forward, backward and step, pass by pass if the scheme is lean.

        Args:
            data (dict | tuple | list): A batch of the data loader.
            optim_wrapper (OptimWrapper): Updates the parameters.
        """
        scheme = getattr(self.module, 'scheme', None)
        if scheme is None or not (scheme.lean or 'unlabelled' in data):
            return super().train_step(data, optim_wrapper)
        return sequential_backward_step(self.module, self, data, optim_wrapper)
