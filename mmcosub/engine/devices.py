"""Runs on any device: AMP and several processes on CPUs, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner, autocast
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub.models.co_training import CoTrainingDistributedDataParallel
from mmcosub.names import type_name


class CPUAmpOptimWrapper(OptimWrapper):
    """CPU counterpart of MMEngine's ``AmpOptimWrapper``, which does not run there.

    Always in bfloat16, which has the range of float32 and needs no loss scaling.
    """

    def __init__(self, **kwargs: Any) -> None:
        for gpu_only in ('loss_scale', 'dtype', 'use_fsdp'):
            kwargs.pop(gpu_only, None)
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Add autocast to bfloat16."""
        with super().optim_context(model), autocast('cpu', dtype=torch.bfloat16):
            yield


class AnyDeviceRunner(Runner):
    """Runner that also supports AMP and several processes on CPUs."""

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper | dict
    ) -> OptimWrapper | OptimWrapperDict:
        amp = type_name(optim_wrapper) == 'AmpOptimWrapper'
        if isinstance(optim_wrapper, dict) and amp and get_device() == 'cpu':
            print_log('No GPU: mixed precision is bfloat16 here.', 'current')
            optim_wrapper = type(optim_wrapper)(optim_wrapper)
            optim_wrapper['type'] = CPUAmpOptimWrapper
        return super().build_optim_wrapper(optim_wrapper)

    def setup_env(self, env_cfg: dict) -> None:
        # MMEngine selects a GPU in every process, whatever the backend.
        on_cpu = self._launcher == 'pytorch' and get_device() == 'cpu'
        if on_cpu and not is_distributed():
            torch.distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_evaluator(self, evaluator: dict | list | Evaluator) -> Evaluator:
        built = super().build_evaluator(evaluator)
        for metric in built.metrics:
            if metric.collect_device == 'cpu' and metric.collect_dir is None:
                # MMEngine leaves a folder `.dist_test` in the current directory. A test
                # while the run trains must not collect into the same folder.
                metric.collect_dir = str(Path(self.log_dir, 'collected.tmp'))
        return built

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume; report BatchNorm statistics that differ between processes."""
        super().resume(filename, *args, **kwargs)
        own = any(
            isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)
            for m in self.model.modules()
        )
        if self.distributed and own:
            self.logger.warning(
                'All processes continue with the BatchNorm statistics of process 0; '
                'each had its own before. Weights are not affected, but the next '
                'validations may be. SyncBN (norm_cfg.type) keeps them equal on GPUs.'
            )

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes; without a GPU, without SyncBN."""
        if not self.distributed:
            return super().wrap_model(model_wrapper_cfg, model)
        options = model_wrapper_cfg or dict(
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get('find_unused_parameters', False),
        )
        scheme: Any = getattr(model, 'scheme', None)
        of_passes = (scheme and scheme.lean) or getattr(model, 'unlabelled', None)
        options = stepping_wrapper(options, needed=bool(of_passes))
        if get_device() != 'cpu':
            return super().wrap_model(options, model)
        # SyncBN has no CPU implementation, and only GPUs need device ids.
        wrapper: Any = MODEL_WRAPPERS.get(options.pop('type'))
        return wrapper(module=revert_sync_batchnorm(model), **options)


def stepping_wrapper(model_wrapper_cfg: dict, needed: bool = True) -> dict:
    """Return a config's DDP wrapper with the steps of ``scheme.lean`` and `unlabelled`.

    Other wrappers raise a ``ValueError`` if these steps are ``needed``.
    """
    name = type_name(model_wrapper_cfg)
    ours = CoTrainingDistributedDataParallel.__name__
    if name in ('', 'MMDistributedDataParallel', ours):
        return {**model_wrapper_cfg, 'type': ours}
    if needed:
        raise ValueError(
            f'model_wrapper_cfg.type={name!r} has a training step of its own, without '
            'passes one after another and without unlabelled images. Leave '
            'model_wrapper_cfg out, take MMDistributedDataParallel, or set '
            'scheme.lean=False and leave `unlabelled` out.'
        )
    return {**model_wrapper_cfg}
