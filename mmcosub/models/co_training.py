"""Mixin of all co-training models in MMEngine, and their optimizer step."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial, wraps
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner.activation_checkpointing import wrap_forward
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmcosub.schemes import Scheme
from mmcosub.schemes.training import SubmodelTraining
from mmcosub.schemes.unlabelled import IMAGE
from mmcosub.schemes.unlabelled_loss import UnlabelledLoss
from mmcosub.submodels import compiled_sites, unrecorded

_WRAPPED = wrap_forward(len).__code__
"""Code object of all forwards that MMEngine has wrapped."""


class CoTraining(SubmodelTraining):
    """:class:`SubmodelTraining` in MMEngine. Call :meth:`init_co_training` last."""

    train: Callable
    data_preprocessor: Any
    with_neck: bool
    neck: Any
    unlabelled: UnlabelledLoss | None = None

    def init_co_training(
        self, scheme: dict | Scheme, activations: set[str], where: str
    ) -> None:
        self.train()  # frozen stages leave the training mode here
        super().init_co_training(scheme, activations, where)

    def _check_once(self, inputs: Tensor) -> None:
        recompute_without_reentry(self.network)
        super()._check_once(inputs)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list | None = None,
        mode: str = 'tensor',
        unlabelled: dict | None = None,
    ) -> Any:
        """See MMEngine's ``BaseModel``; unlabelled images are preprocessed ones."""
        outputs = super().forward(inputs, data_samples, mode)  # type: ignore[misc]
        if unlabelled is not None:
            outputs['loss_unlabelled'] = self._unlabelled_loss(**unlabelled)
        return outputs

    def train_step(
        self, data: Any, optim_wrapper: OptimWrapper
    ) -> dict[str, torch.Tensor]:
        """Run one optimizer step, with sequential backward if ``scheme.lean``."""
        if self.scheme.lean or 'unlabelled' in data:
            return sequential_backward_step(self, self, data, optim_wrapper)
        return super().train_step(data, optim_wrapper)  # type: ignore[misc]

    # ---- unlabelled images -------------------------------------------------------

    @property
    @abstractmethod
    def label_weight(self) -> float:
        """Weight of the label loss of the prediction."""

    @abstractmethod
    def view_logits(
        self, features: Any, data_samples: list, views: int
    ) -> Sequence[Tensor]:
        """Return the prediction's logits of each view, from the backbone's outputs."""

    def init_unlabelled(self, cfg: dict | None) -> None:
        """Set up the loss on unlabelled images, for batches that have some."""
        self.unlabelled = None if cfg is None else UnlabelledLoss(self, cfg)

    def preprocess_unlabelled(self, batch: dict) -> dict:
        """Normalise unlabelled images, lists of ``weak`` and ``strong`` ones.

        The label maps of ``data_samples`` are ``IMAGE`` outside of padding.
        """
        segments = hasattr(self, 'decode_head')
        done = {}
        for name in ('weak', 'strong'):
            data = dict(inputs=batch[name], data_samples=batch['data_samples'])
            # In training mode, a classifier's preprocessor would apply mixup.
            data = self.data_preprocessor(data, segments)
            done[name] = data['inputs']
            done.setdefault('data_samples', data['data_samples'])
        if segments:
            maps = [sample.gt_sem_seg.data[0] for sample in done['data_samples']]
            done['valid'] = torch.stack(maps) == IMAGE
        return done

    def _unlabelled_loss(
        self,
        weak: Tensor,
        strong: Tensor,
        data_samples: list,
        valid: Tensor | None = None,
    ) -> Tensor:
        assert self.unlabelled is not None

        def read(network: Any, features: Any, views: int) -> Sequence[Tensor]:
            return network.view_logits(features, data_samples, views)

        loss = self.unlabelled(self, weak, strong, read, valid)
        return loss * self.label_weight


def compile_parts(model: CoTraining, options: bool | dict[str, Any]) -> None:
    """Compile the residual functions of a model's branches, in place.

    MMEngine's ``compile`` would compile the whole step again for every plan. The
    options are True, or ``backend``, ``mode`` and ``options`` of ``torch.compile``.
    """
    options = {} if options is True else options
    valid = ['backend', 'mode', 'options']
    if not isinstance(options, dict) or set(options) - {*valid}:
        raise ValueError(
            f'compile={options!r}: with a scheme it is True or a dict with some of '
            f'{valid}. The scheme decides which parts are compiled, for which shapes.'
        )
    model.sites = compiled_sites(model.sites, **options)
    print_log(
        'torch.compile compiles the residual functions of known blocks, of which the '
        'first iterations take minutes.',
        'current',
    )


def recompute_without_reentry(model: nn.Module) -> None:
    """Make MMEngine's activation checkpointing non-reentrant, in place.

    As it is, it passes no gradients through lists of feature maps, takes no keyword
    arguments, which the stages of a Swin get, and records BatchNorm statistics twice.
    """
    for module in model.modules():
        forward: Any = vars(module).get('forward')
        if getattr(forward, '__code__', None) is _WRAPPED:
            plain = forward.__wrapped__
            contexts = partial(_contexts, module)
            again = partial(checkpoint, plain, use_reentrant=False, context_fn=contexts)
            module.forward = wraps(plain)(again)


def _contexts(module: nn.Module) -> tuple[AbstractContextManager, ...]:
    """Return contexts of a forward, and of its repetition in the backward pass."""
    return nullcontext(), unrecorded(module.modules(), again=True)


def sequential_backward_step(
    model: Any, runs: Any, data: Any, optim_wrapper: OptimWrapper
) -> dict[str, Tensor]:
    """Run one optimizer step in which each pass runs backward before the next starts.

    As in the code of AugSub and stimulative training. All views are one pass without
    ``scheme.lean``. ``runs`` is the module to call: the model, or its DDP wrapper.
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
    if unlabelled is not None and optim_wrapper.should_update():  # or accumulates
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
