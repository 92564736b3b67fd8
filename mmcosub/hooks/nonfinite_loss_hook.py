import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmcosub.files import atomic_write
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
            name: torch.as_tensor(value).detach().item()
            for name, value in (outputs or {}).items()
            if 'loss' in name
        }
        if all(math.isfinite(value) for value in terms.values()):
            self.in_a_row = 0
            return
        self.in_a_row += 1
        patience = self.patience if _skips_overflows(runner.optim_wrapper) else 0
        values = ', '.join(f'{name} = {value:.6g}' for name, value in terms.items())
        if self.in_a_row <= patience:
            runner.logger.warning(
                f'Loss not finite at iteration {runner.iter + 1} ({values}): step '
                f'skipped, {self.in_a_row} of at most {patience} in a row.'
            )
            return
        report = write_report(runner, data_batch, terms)
        raise FloatingPointError(
            f'Loss not finite at iteration {runner.iter + 1}: {values}. The batch and '
            f'the plan are in {report}.{_remedy(runner)}'
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise rather than save weights that are not finite."""
        for name, value in checkpoint['state_dict'].items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise FloatingPointError(
                    f'{name} is not finite at iteration {runner.iter + 1}; the '
                    f'checkpoint is not written.{_remedy(runner)}'
                )


def write_report(runner: Runner, data_batch: Any, terms: dict[str, float]) -> Path:
    """Write batch, plan and losses of an iteration, as tensors and plain objects.

    With the previous weights this reproduces the iteration, as random numbers depend
    only on the seed, the rank and the iteration. The file ``nonfinite_iter_N.pt`` in
    the work directory is for ``torch.load``.
    """
    model: Any = runner.model
    model = model.module if is_model_wrapper(model) else model
    batch = data_batch if isinstance(data_batch, dict) else {}
    samples = batch.get('data_samples') or []
    rank = get_rank()
    number = getattr(model, 'plans_drawn', None)
    report = dict(
        iteration=runner.iter + 1,
        rank=rank,
        seed=runner.seed,
        losses=terms,
        plan=number and dict(seed=model.plan_seed, number=number - 1),
        checkpoint=runner.message_hub.runtime_info.get('last_ckpt'),
        inputs=batch.get('inputs'),
        labels=[_label(sample) for sample in samples],
        files=[str(getattr(sample, 'img_path', '')) for sample in samples],
    )
    ending = f'_rank{rank}' if rank else ''
    path = Path(runner.work_dir, f'nonfinite_iter_{runner.iter + 1}{ending}.pt')
    with atomic_write(path) as partial:
        torch.save(report, partial)
    return path


def _label(sample: Any) -> Tensor | None:
    """Return a label map (1, height, width) or an image's label; None if unknown."""
    label_map = getattr(sample, 'gt_sem_seg', None)
    return getattr(sample, 'gt_label', None) if label_map is None else label_map.data


def _skips_overflows(optim_wrapper: OptimWrapper) -> bool:
    """Return True if a loss scaler adapts and skips overflowing steps."""
    return (
        isinstance(optim_wrapper, AmpOptimWrapper)
        and optim_wrapper._scale_update_param is None
        and optim_wrapper.loss_scaler.is_enabled()
    )


def _remedy(runner: Runner) -> str:
    saved = runner.message_hub.runtime_info.get('last_ckpt')
    kept = 'No checkpoint is saved yet'
    if saved:
        kept = f'The last checkpoint, {saved}, is intact'
    precision = ''
    if isinstance(runner.optim_wrapper, AmpOptimWrapper):
        precision = (
            ' train without --amp or in bfloat16 (optim_wrapper.dtype=bfloat16),'
        )
    return (
        f' {kept}. Remedies: lower the learning rate (optim_wrapper.optimizer.lr) or '
        'warm it up for longer, clip gradients (optim_wrapper.clip_grad='
        f'dict(max_norm=1.0)),{precision} lower scheme.weight if it is a co-training '
        'loss, or check the data.'
    )
