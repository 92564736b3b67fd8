"""Runner for MMEngine's strategies: FSDP, DeepSpeed."""

from typing import Any

from mmengine.registry import DefaultScope
from mmengine.runner import FlexibleRunner
from torch import nn

from mmcosub.config.co_train import co_trained_model
from mmcosub.files import require_local
from mmcosub.registry import RUNNERS, SCHEMES
from mmcosub.resuming.checkpoint_hook import forget_named_files
from mmcosub.resuming.seeded_runner import SeededRunner
from mmcosub.resuming.seeding import IterationSeedHook
from mmcosub.resuming.work_dir import end_with_torchrun, locked


@RUNNERS.register_module()
class CoTrainingFlexibleRunner(SeededRunner, FlexibleRunner):
    """``FlexibleRunner`` of MMEngine that trains by ``scheme``.

    Supports its strategies: FSDP, DeepSpeed, and their gradient accumulation. The
    strategy writes the checkpoints, as in MMEngine.

    Args:
        **kwargs: Arguments of ``FlexibleRunner``.

    Raises:
        ValueError: If the scheme is lean, as strategies run one backward pass a step,
            the model is compiled, or there are unlabelled images.
    """

    def __init__(self, **kwargs: Any) -> None:
        cfg = kwargs.get('cfg') or {}
        self._scheme = cfg.get('scheme') if kwargs.get('train_cfg') else None
        require_local(kwargs['work_dir'])
        if cfg.get('unlabelled'):
            raise ValueError(
                'Strategies run their own training step, without unlabelled images: '
                'leave `unlabelled` out, or train without `strategy`.'
            )
        end_with_torchrun()
        if self._scheme and isinstance(kwargs['model'], dict):
            if self._scheme.get('lean'):
                raise ValueError(
                    'scheme.lean=True runs backward once a view, and a strategy once a '
                    'step: leave scheme.lean out, or train without `strategy`.'
                )
            if kwargs.get('compile') or cfg.get('compile'):
                raise ValueError(
                    'A strategy compiles the whole step, which would be compiled again '
                    'for every plan: leave `compile` out, or train without `strategy`.'
                )
            # MMEngine sets it later.
            with DefaultScope.overwrite_default_scope(kwargs.get('default_scope')):
                kwargs['model'] = co_trained_model(kwargs['model'], self._scheme)
        super().__init__(**kwargs)

    def train(self) -> nn.Module:
        """Train; raise if the work directory is in use."""
        with locked(self.work_dir, self.logger.warning):
            return super().train()

    def resume(self, *args: Any, **kwargs: Any) -> None:
        """Resume; ignore a checkpoint's list of files to delete."""
        super().resume(*args, **kwargs)
        forget_named_files(self)

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list | None = None
    ) -> None:
        """Register the config's hooks and mmcosub's."""
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(IterationSeedHook())
        ours = ['NonFiniteLossHook', 'RunFactsHook']
        if self._scheme:
            ours.append('CoTrainingLossHook')
            kind: Any = self._scheme['type']
            kind = SCHEMES.get(kind) if isinstance(kind, str) else kind
            if kind.changes_statistics:
                ours.append('FullNetworkBNHook')
        self.register_ours(ours)
