"""Co-training of any PyTorch model in a plain training loop.

Shapes: ``B`` labelled images, ``U`` unlabelled images.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .schemes import Scheme, Step, SubmodelTraining
from .schemes.any_model import (
    Key,
    cast_like_wrapper,
    check_channels,
    check_images,
    check_processes,
    find_logits,
    fit_criterion,
    label_loss,
    labelled_positions,
    setting,
    split_views,
    unwrapped,
)
from .schemes.step import total_loss
from .schemes.unlabelled_loss import UnlabelledLoss
from .submodels import compiled_sites

_logger = logging.getLogger('mmcosub')


class CoTrainer(SubmodelTraining):
    """Co-training losses of a model, for a plain PyTorch loop.

    The model is not changed: ``state_dict`` and evaluation stay the same.

    Args:
        model (nn.Module): A classifier, or a segmentor with logits at every pixel. Its
            known residual blocks or DropPath modules are the branches. With several
            processes, pass the model wrapped in ``DistributedDataParallel``.
        scheme (str | dict | Scheme): Name or config of the scheme: 'cosub', 'augdrop',
            'augmask', 'augpath', 'collaboration', 'gkt', 'stimulative' or
            'stochastic_depth'. Defaults to 'cosub'.
        drop_path_rate (float, optional): Drop-path rate of the submodels. Defaults to
            None, the model's own rates.
        key (str | int | Callable, optional): Key of the logits in the model's output,
            or a function that returns them. Defaults to None: the output itself,
            ``logits`` or ``out`` of a dict, the first of a tuple.
        auxiliary (Mapping, optional): Weights of additional label losses, for the keys
            of auxiliary logits. Defaults to None, no auxiliary losses.
        ignore_index (int, optional): Label of positions without a label. Defaults to
            None: the criterion's or, if it has none, all labels that are no class.
        unlabelled (dict, optional): Arguments of :class:`~mmcosub.schemes.Unlabelled`,
            for batches with unlabelled images. Defaults to None, its defaults.
        **options: Arguments of the scheme, such as ``weight``, ``loss`` or ``seed``.

    Raises:
        ValueError: If the model has neither known blocks nor DropPath modules, all
            rates are 0, or it is a ``DataParallel``.

    Examples:
        >>> import timm
        >>> import torch
        >>> model = timm.create_model('test_vit', drop_path_rate=0.1, num_classes=5)
        >>> images, labels = torch.rand(2, 3, 160, 160), torch.tensor([0, 1])
        >>> cosub = CoTrainer(model)
        >>> loss = cosub.loss(images, labels, nn.CrossEntropyLoss())
        >>> loss.shape
        torch.Size([])
    """

    def __init__(
        self,
        model: nn.Module,
        scheme: str | dict | Scheme = 'cosub',
        *,
        drop_path_rate: float | None = None,
        key: Key = None,
        auxiliary: Mapping[str | int, float] | None = None,
        ignore_index: int | None = None,
        unlabelled: dict | None = None,
        **options: Any,
    ) -> None:
        self._caller: nn.Module = getattr(model, '_orig_mod', model)  # torch.compile's
        self.backbone = self.model = unwrapped(self._caller)
        self.key = key
        self.head_weights: dict[Any, float] = {key: 1.0, **dict(auxiliary or {})}
        self.ignore_index = ignore_index
        self._unlabelled: UnlabelledLoss | None = None
        if drop_path_rate is not None:
            options['drop_path_rate'] = drop_path_rate
        if isinstance(scheme, Scheme) and options:
            raise ValueError(f'Give {[*options]} to the scheme that you have built.')
        if not isinstance(scheme, Scheme):
            named = scheme if isinstance(scheme, Mapping) else dict(type=scheme)
            scheme = {**named, **options}
        self.init_co_training(scheme, set(), '')
        if self.scheme.lean:
            raise ValueError(
                'CoTrainer returns one loss of all views, so lean=True cannot be set.'
            )
        if self._caller is not model:
            self.sites = compiled_sites(self.sites)
            _logger.warning(
                'CoTrainer compiles the residual functions of known blocks in place of '
                'the whole model, which would be compiled again for every plan.'
            )
        if unlabelled is not None:
            self._unlabelled = UnlabelledLoss(self, unlabelled)
        has_norms = any(isinstance(m, _BatchNorm) for m in self.modules())
        if has_norms and self.scheme.changes_statistics:
            _logger.warning(
                f'{type(self.scheme).__name__} changes BatchNorm statistics. Before '
                'evaluation: torch.optim.swa_utils.update_bn(loader, model).'
            )

    def loss(  # type: ignore[override]
        self,
        images: Tensor,
        labels: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
        unlabelled: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the sum of the label and distillation losses of all views.

        Args:
            images (Tensor): Of shape (B, ...).
            labels (Tensor): Labels for the criterion: (B, ), (B, H, W) or soft.
            criterion (Callable): ``criterion(logits, labels)``, a mean over images (and
                positions). It decides the distillation loss.
            unlabelled (tuple, optional): Unlabelled images of shape (U, ...), weakly
                and strongly augmented, pixels in the same places. Defaults to None.

        Raises:
            ValueError: If the model is in evaluation mode, the logits are not found, no
                distillation loss fits the criterion, or images are not as above.
        """
        if not self.training:
            raise ValueError(
                'The model is in evaluation mode, where no branch is dropped. Call '
                'model.train() before CoTrainer.loss.'
            )
        check_images(images, unlabelled)
        unlabelled = unlabelled if unlabelled and len(unlabelled[0]) else None
        fit_criterion(self.scheme, criterion, self.scheme.views > 1 or bool(unlabelled))
        for name, module in self.extras.items():
            if name != 'average':  # it follows the model by itself
                module.to(next(self.model.parameters()))
        losses = super().loss(images, (labels, criterion))
        if unlabelled:
            self._unlabelled = self._unlabelled or UnlabelledLoss(self, {})
        if self._unlabelled:
            self._unlabelled.follow(self)  # a step of the optimizer
        if unlabelled:
            losses['loss_unlabelled'] = self._unlabelled_loss(*unlabelled)
        return total_loss(losses)

    def pass_loss(self, step: Step, data_samples: Any) -> dict[str, Tensor]:
        labels, criterion = data_samples
        loss_of = partial(label_loss, criterion, labels=labels)
        step.label_loss = loss_of
        outputs = step.rows.spread(step.features)  # by key
        losses, views = {}, len(step.views)
        for key, factor in self.head_weights.items():
            main = key == self.key
            logits = split_views(outputs[key], views, step.plan.batch)
            terms = step.label_losses(logits, lambda z: {'loss': loss_of(z)}, main)
            losses.update({f'loss_{key}': factor * loss for loss in terms.values()})
            if main:
                ignored = self.ignore_index
                if ignored is None:
                    ignored = setting(criterion, 'ignore_index', None)
                check_channels(self.scheme, logits[0], labels)
                step.record('head', logits)
                step.weights['head'] = labelled_positions(labels, logits[0], ignored)
                losses['loss_co_training'] = step.distillation('head', 1.0, log=True)
        return losses

    def _unlabelled_loss(self, weak: Tensor, strong: Tensor) -> Tensor:
        learned: Any = self._unlabelled

        def split(network: nn.Module, outputs: Any, views: int) -> tuple[Tensor, ...]:
            return split_views(outputs[self.key], views, len(strong))

        return learned(self, cast_like_wrapper(self, weak), strong, split)

    @property
    def logs(self) -> dict[str, float]:
        """Values of the last step: agreement, label loss of each view, branch work."""
        return {name: float(value) for name, value in self.telemetry.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming: the seed, the step, the scheme's modules."""
        return dict(
            seed=self.plan_seed,
            step=self.plans_drawn,
            extras=self.extras.own_state(),
            averaged=self._unlabelled.averaged if self._unlabelled else 0,
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state.

        If it has the averaged teacher of unlabelled images, and this trainer was made
        without ``unlabelled``, it goes on with the default settings.

        Args:
            state (dict): From :meth:`state_dict`.
        """
        if not self._unlabelled and 'average.updates' in state['extras']:
            self._unlabelled = UnlabelledLoss(self, {})
        if self._unlabelled:
            self._unlabelled.averaged = state.get('averaged', 0)
        self.extras.load_own_state(state['extras'])
        self.scheme.seed, self.plans_drawn = state['seed'], state['step']

    # ---- the model, as a SubmodelTraining takes it -------------------------------

    @property
    def training(self) -> bool:  # type: ignore[override]
        """True if the model is in training mode."""
        return self.model.training

    @property
    def network(self) -> nn.Module:
        return self.model

    def caller(self) -> nn.Module:
        return self._caller

    def read(self, outputs: Any, auxiliary: bool = True) -> dict[Key, Tensor]:
        """Return the logits by key. Other outputs need not have a row per image."""
        keys = self.head_weights if auxiliary else [self.key]
        return {key: find_logits(outputs, key) for key in keys}

    def modules(self) -> Iterator[nn.Module]:
        return self.model.modules()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters to optimize: the model's and the scheme's."""
        yield from self.model.parameters()
        yield from (p for p in self.extras.parameters() if p.requires_grad)

    def _check_once(self, inputs: Tensor) -> None:
        super()._check_once(cast_like_wrapper(self, inputs))
        check_processes(self)
