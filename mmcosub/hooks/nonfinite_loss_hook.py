import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner

from mmcosub.checkpoints.weights import nonfinite_weights
from mmcosub.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Hook that stops a run at a non-finite loss, before it is saved.

    A dynamic loss scaler skips steps that overflow and lowers the scale. Without one, a
    single overflow corrupts the weights.

    Other ranks see a non-finite loss only in the weights, so weights are checked as
    well before a checkpoint is written.

    Args:
        patience (int): Maximum number of consecutive iterations with a non-finite loss
            while a loss scaler adapts. Defaults to 20.

    Raises:
        ValueError: If ``patience`` is negative.
    """

    # Right after RuntimeInfoHook, long before CheckpointHook.
    priority = 'VERY_HIGH'

    def __init__(self, patience: int = 20) -> None:
        if patience < 0:
            raise ValueError(f'patience={patience} must not be negative.')
        self.patience = patience
        self.in_a_row = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Raise if a loss is not finite and no loss scaler can recover."""
        terms = {
            name: torch.as_tensor(value).detach()
            for name, value in (outputs or {}).items()
            if 'loss' in name
        }
        if math.isfinite(sum(terms.values())):  # waits once for the device
            self.in_a_row = 0
            return
        self.in_a_row += 1
        wrapper: Any = runner.optim_wrapper
        skips_overflows = (
            isinstance(wrapper, AmpOptimWrapper)
            and wrapper._scale_update_param is None  # the scale adapts
            and wrapper.loss_scaler.is_enabled()
        )
        patience = self.patience if skips_overflows else 0
        values = ', '.join(f'{name} = {value:.6g}' for name, value in terms.items())
        if self.in_a_row <= patience:
            runner.logger.warning(
                f'Loss not finite at iteration {runner.iter + 1} ({values}): step '
                f'skipped, {self.in_a_row} of at most {patience} in a row.'
            )
            return
        batch = data_batch if isinstance(data_batch, dict) else {}
        samples = batch.get('data_samples') or []
        files = [path for each in samples if (path := getattr(each, 'img_path', ''))]
        of_files = f' of {", ".join(files)}' if files else ''
        raise FloatingPointError(
            f'Loss not finite at iteration {runner.iter + 1}{of_files}: {values}.'
            f'{_remedy(runner)}'
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise rather than save weights that are not finite."""
        if odd := nonfinite_weights(checkpoint['state_dict']):
            raise FloatingPointError(
                f'{odd[0]} is not finite at iteration {runner.iter + 1}; the '
                f'checkpoint is not written.{_remedy(runner)}'
            )


def _remedy(runner: Runner) -> str:
    saved = runner.message_hub.runtime_info.get('last_ckpt')
    kept = 'No checkpoint is saved yet'
    if saved:
        kept = f'The last checkpoint, {saved}, is intact'
    amp = ''
    if isinstance(runner.optim_wrapper, AmpOptimWrapper):
        amp = 'train without --amp or in bfloat16 (optim_wrapper.dtype=bfloat16), '
    return (
        f' {kept}. Remedies: lower the learning rate (optim_wrapper.optimizer.lr) or '
        'warm it up for longer, clip gradients (optim_wrapper.clip_grad='
        f'dict(max_norm=1.0)), {amp}lower '
        'scheme.weight if it is a co-training loss, or check the data.'
    )
