"""Co-training of any PyTorch model in a plain training loop.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``*`` positions.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from mmcosub.schemes.any_model import (
    Key,
    find_logits,
    labelled_positions,
    setting,
    unwrapped,
)
from mmcosub.schemes.iteration import count_processes
from mmcosub.schemes.unlabelled_loss import UnlabelledLoss

from .losses import activations
from .schemes import Iteration, Pass, Scheme, SubmodelTraining
from .submodels import are_drop_paths, compiled_sites

_logger = logging.getLogger('mmcosub')

_Criterion = Callable[[Tensor, Tensor], Tensor]


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
            None, the criterion's.
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
        others: Mapping[Any, float] = auxiliary or {}
        self.head_weights: dict[Key, float] = {key: 1.0, **others}
        self.ignore_index = ignore_index
        self._activations: set[str] | None = None
        if drop_path_rate is not None:
            options['drop_path_rate'] = drop_path_rate
        if isinstance(scheme, str):
            scheme = dict(type=scheme)
        if isinstance(scheme, dict):
            scheme, options = {**scheme, **options}, {}
        if options:
            raise ValueError(f'Give {[*options]} to the scheme that you have built.')
        self.init_co_training(scheme, set(), '')
        if self.scheme.lean:
            raise ValueError(
                'CoTrainer returns one loss of all views, so lean=True cannot run '
                'backward between passes. Leave it out.'
            )
        if self._caller is not model:
            self._compile()
        self._unlabelled: UnlabelledLoss | None = None
        if unlabelled is not None:
            self._learn_unlabelled(unlabelled)
        norms = [m for m in self.backbone.modules() if isinstance(m, _BatchNorm)]
        if norms and self.scheme.changes_statistics:
            _logger.warning(
                f'{type(self.scheme).__name__} changes BatchNorm statistics. Before '
                'evaluation: torch.optim.swa_utils.update_bn(loader, model).'
            )

    @property
    def training(self) -> bool:  # type: ignore[override]
        """True if the model is in training mode."""
        return self.backbone.training

    def loss(  # type: ignore[override]
        self,
        images: Tensor,
        labels: Tensor,
        criterion: _Criterion,
        unlabelled: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the sum of the label and distillation losses of all views.

        Args:
            images (Tensor): Of shape (B, ...).
            labels (Tensor): Labels for the criterion: (B, ), (B, H, W) or soft.
            criterion (Callable): ``criterion(logits, labels)``, a mean over images (and
                positions). It decides the distillation loss.
            unlabelled (tuple, optional): Unlabelled images of shape (U, ...), weakly
                and strongly augmented, with pixels in the same positions. Defaults to
                None.

        Raises:
            ValueError: If the model is in evaluation mode, the logits are not found, or
                no distillation loss fits the criterion.
        """
        if not self.training:
            raise ValueError(
                'The model is in evaluation mode, where no branch is dropped. Call '
                'model.train() before CoTrainer.loss.'
            )
        self._match(criterion)
        self.extras.to(next(self.model.parameters()))
        losses = super().loss(images, (labels, criterion))
        if unlabelled is not None and len(unlabelled[0]):
            losses['unlabelled'] = self._unlabelled_loss(*unlabelled)
        first, *others = losses.values()
        return sum(others, start=first)

    def _unlabelled_loss(self, weak: Tensor, strong: Tensor) -> Tensor:
        learned = self._unlabelled or self._learn_unlabelled({})
        # The optimizer has stepped since the last call.
        learned.after_step(self, self.model)
        return learned(
            self,
            self.model,
            weak,
            strong,
            lambda network, x: find_logits(network(x), self.key, len(x)),
            lambda outputs, views: find_logits(
                outputs, self.key, views * len(strong)
            ).chunk(views),
        )

    def _learn_unlabelled(self, cfg: dict) -> UnlabelledLoss:
        self._unlabelled = UnlabelledLoss(self, self.model, cfg)
        return self._unlabelled

    def pass_loss(
        self, iteration: Iteration, inputs: Tensor, data_samples: Any, views: list[int]
    ) -> dict[str, Tensor]:
        """See :class:`~mmcosub.schemes.SubmodelTraining`."""
        labels, criterion = data_samples
        outputs, tapped = self.run_backbone(iteration, inputs, views)
        outputs = iteration.rows.spread(outputs)
        rows = len(views) * len(inputs)
        weights = self.scheme.label_weights
        of_heads: dict[Key, Sequence[Tensor]] = {}
        losses: dict[str, Tensor] = {}
        for key, factor in self.head_weights.items():
            of_heads[key] = find_logits(outputs, key, rows).chunk(len(views))
            for v, z in zip(views, of_heads[key], strict=True):
                if weights[v]:
                    loss = criterion(z, labels)
                    losses[f'loss_{key}_view{v}'] = factor * weights[v] * loss
                    if key == self.key:
                        iteration.add(f'label_view{v}', loss)
        logits = of_heads[self.key]
        ignored = self.ignore_index
        if ignored is None:
            ignored = setting(criterion, 'ignore_index', None)
        weight = labelled_positions(labels, logits[0], ignored)
        done = Pass(self, views, outputs, tapped, {'head': logits})
        done.label_loss = lambda z: criterion(z, labels)
        if weight is not None:
            done.weights['head'] = weight
        losses['loss_co_training'] = iteration.teach('head', views, logits, weight)
        iteration.add('co_training', losses['loss_co_training'])
        iteration.note_agreement('head', weight)
        for objective in self.scheme.objectives:
            losses.update(objective.losses(done))
        return losses

    @property
    def logs(self) -> dict[str, float]:
        """Values of the last step: agreement, label loss of each view, branch work."""
        return {name: float(value) for name, value in self.telemetry.items()}

    def caller(self) -> nn.Module:
        """See :class:`~mmcosub.schemes.SubmodelTraining`."""
        return self._caller

    def modules(self) -> Iterator[nn.Module]:
        """Return the modules of the model."""
        return self.model.modules()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters to optimize: the model's and the scheme's."""
        yield from self.model.parameters()
        yield from (p for p in self.extras.parameters() if p.requires_grad)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming: the seed, the step, the scheme's modules."""
        return dict(
            seed=self.plan_seed, step=self.plans_drawn, extras=self.extras.own_state()
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state.

        Args:
            state (dict): From :meth:`state_dict`.
        """
        self.scheme.seed, self.plans_drawn = state['seed'], state['step']
        self.extras.load_own_state(state['extras'])

    # ---- checks ------------------------------------------------------------------

    def _check_once(self, inputs: Tensor) -> None:
        super()._check_once(inputs)
        # Lightning's DistributedDataParallel is around the training step.
        outer = getattr(DistributedDataParallel, '_active_ddp_module', None)
        if count_processes() > 1 and self._caller is self.backbone and outer is None:
            _logger.warning(
                'CoTrainer got the model itself, so gradients are not averaged over '
                'processes. Pass it the DistributedDataParallel around the model.'
            )
        if count_processes() > 1 and any(
            p.requires_grad for p in self.extras.parameters()
        ):
            raise ValueError(
                f'{type(self.scheme).__name__} adds parameters to this model, and '
                'DistributedDataParallel does not average their gradients. Use one '
                'process, or another scheme.'
            )

    def _compile(self) -> None:
        """Compile the residual functions instead of the model, whose rows vary."""
        found = 'nothing, as its blocks are not known'
        if not are_drop_paths(self.sites):
            self.sites = compiled_sites(self.sites)
            found = f'the residual functions of {len(self.sites)} branches'
        _logger.warning(
            f'Of the compiled {type(self.backbone).__name__}, CoTrainer compiles '
            f'{found}: the whole model would be compiled again for every plan.'
        )

    def _match(self, criterion: Any) -> None:
        """Choose the distillation loss that fits the criterion."""
        name = getattr(criterion, '__name__', type(criterion).__name__)
        reduction = setting(criterion, 'reduction', 'mean')
        if reduction != 'mean':
            raise ValueError(
                f'The criterion {name} has reduction={reduction!r}, and the '
                "distillation loss is a mean. Set reduction='mean'."
            )
        found = activations([criterion])
        if found == self._activations:
            return
        if not found and self.scheme.soft_loss.name == 'auto' and self.scheme.views > 1:
            raise ValueError(
                f'CoTrainer cannot tell whether the criterion {name} uses a softmax or '
                "a sigmoid. Give it loss='ce' or loss='bce'."
            )
        self.scheme.soft_loss.fit(found, f'the criterion {name}')
        self._activations = found
