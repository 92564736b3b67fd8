"""Runner for MMEngine's strategies: FSDP, DeepSpeed."""

from typing import Any

from mmengine.registry import DefaultScope
from mmengine.runner import FlexibleRunner
from torch import nn

from mmcosub.config.co_train import co_trained_model
from mmcosub.files import require_local
from mmcosub.registry import RUNNERS, SCHEMES
from mmcosub.resuming.seeded_runner import SeededRunner
from mmcosub.resuming.work_dir import end_with_torchrun, locked

from .runner import register_ours


@RUNNERS.register_module()
class CoTrainingFlexibleRunner(SeededRunner, FlexibleRunner):
    """``FlexibleRunner`` of MMEngine that trains by ``scheme``.

    Supports its strategies: FSDP, DeepSpeed, and their gradient accumulation. The
    strategy writes the checkpoints, as in MMEngine.

    Raises:
        ValueError: If the scheme is lean, the model is compiled, or there are
            unlabelled images, as strategies run their own training step.
    """

    def __init__(self, **kwargs: Any) -> None:
        cfg = kwargs.get('cfg') or {}
        self._scheme = cfg.get('scheme') if kwargs.get('train_cfg') else None
        require_local(kwargs['work_dir'])
        scheme = self._scheme or {}
        refused = {
            'unlabelled': cfg.get('unlabelled'),
            'scheme.lean': scheme.get('lean'),
            'compile': scheme and (kwargs.get('compile') or cfg.get('compile')),
        }
        if given := [name for name in refused if refused[name]]:
            raise ValueError(
                f'A strategy runs its own training step, and {given[0]} changes that '
                f'step: leave {given[0]} out, or train without `strategy`.'
            )
        end_with_torchrun()
        if self._scheme and isinstance(kwargs['model'], dict):
            # MMEngine sets it later.
            with DefaultScope.overwrite_default_scope(kwargs.get('default_scope')):
                kwargs['model'] = co_trained_model(kwargs['model'], self._scheme)
        super().__init__(**kwargs)

    def train(self) -> nn.Module:
        with locked(self.work_dir, self.logger.warning):
            return super().train()

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list | None = None
    ) -> None:
        super().register_hooks(default_hooks, custom_hooks)
        kind: Any = self._scheme['type'] if self._scheme else None
        register_ours(self, SCHEMES.get(kind) if isinstance(kind, str) else kind)
