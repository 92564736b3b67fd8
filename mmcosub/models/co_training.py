"""Mixin of all co-training models in MMEngine."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.activation_checkpointing import wrap_forward
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmcosub.schemes import Scheme
from mmcosub.schemes.training import SubmodelTraining
from mmcosub.schemes.unlabelled_loss import UnlabelledLoss

from .sequential_backward import sequential_backward_step

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
        _recompute_without_reentry(self.network, self.backbone)
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
        """Normalise unlabelled images, and find their padding.

        The batch has ``weak`` and ``strong``, lists of images, and ``data_samples``,
        whose label maps are 0 outside of padding.
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
            done['valid'] = torch.stack(maps) == 0
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


def _recompute_without_reentry(model: nn.Module, backbone: nn.Module) -> None:
    """Make checkpointing of necks and heads non-reentrant, in place.

    MMEngine's ``activation_checkpointing`` uses PyTorch's reentrant checkpoint, which
    passes no gradients through the lists of feature maps that necks and heads get.
    Executions handle the backbone's modules.
    """
    inside = set(backbone.modules())
    for module in model.modules():
        forward: Any = vars(module).get('forward')
        if getattr(forward, '__code__', None) is _WRAPPED and module not in inside:
            plain = forward.__wrapped__
            again = partial(checkpoint, plain, use_reentrant=False)
            module.forward = wraps(plain)(again)
