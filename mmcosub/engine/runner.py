"""Runner that trains a model, with a scheme or without."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmpretrain.models.classifiers import TimmClassifier
from torch import nn

from mmcosub.checkpoints import (
    load_backbone,
    load_to_train,
    read_checkpoint,
    state_dict,
)
from mmcosub.config.co_train import accelerated_model, co_trained_model
from mmcosub.config.settings import check_carry_over, check_optimizer
from mmcosub.datasets.guard import BadSamples
from mmcosub.fast.attention import accelerate_attention
from mmcosub.fast.heads import FastHead
from mmcosub.models import compile_parts
from mmcosub.models.co_training import CoTraining, recompute_without_reentry
from mmcosub.names import type_name
from mmcosub.registry import RUNNERS
from mmcosub.resuming import unwrapped
from mmcosub.resuming.resumable_runner import ResumableRunner
from mmcosub.resuming.seeding import Indices
from mmcosub.schemes import Scheme

from .data import check_data
from .devices import AnyDeviceRunner
from .screen import QuietStart
from .trial import try_validation
from .unlabelled import add_unlabelled, method_options

_FROM_FILE = ('Pretrained', 'PretrainedInit')


@RUNNERS.register_module()
class CoTrainingRunner(QuietStart, AnyDeviceRunner, ResumableRunner):
    """MMEngine's runner that co-trains if the config has a ``scheme``.

    The config remains that of the upstream model; only this runner adds the wrapper. So
    the dumped config and checkpoints load without mmcosub.

    For every run, it also checks the data before training, stops at a non-finite loss,
    raises for a checkpoint that hardly matches, and supports ``--amp`` and several
    processes without a GPU.
    """

    trains = True
    """True if the model is trained rather than only evaluated."""

    # ---- the method --------------------------------------------------------------

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, with its co-training wrapper where there is a scheme."""
        scheme = self.cfg.get('scheme')
        if self.cfg.get('fast') and isinstance(model, dict):
            model = accelerated_model(model)
        unlabelled = method_options(self.cfg) if self.trains else None
        if scheme and isinstance(model, dict) and self.trains and self._train_loop:
            model = co_trained_model(model, scheme)
            if unlabelled is not None:
                model['unlabelled'] = unlabelled
        built = super().build_model(model)
        if self.cfg.get('fast'):
            attentions = accelerate_attention(built)
            heads = sum(isinstance(m, FastHead) for m in built.modules())
            self.logger.info(
                f'fast: {heads} decode heads and {attentions} attentions run faster'
            )
        return built

    def extend(self, loader: Any) -> Indices | None:
        """Add unlabelled images, if configured."""
        if not self.cfg.get('unlabelled'):
            return None
        return add_unlabelled(loader, self.cfg, self.seed, self._bad_samples())

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list | None = None
    ) -> None:
        """Register the config's hooks and mmcosub's."""
        super().register_hooks(default_hooks, custom_hooks)
        co_trains = self.cfg.get('scheme') and self.trains and self._train_loop
        scheme = getattr(unwrapped(self.model), 'scheme', Scheme)
        register_ours(self, scheme if co_trains else None)

    def _maybe_compile(self, target: str) -> None:
        """Try validation, then compile what is the same for all plans.

        MMEngine calls this when everything is built and the weights are loaded.
        """
        model, checks = unwrapped(self.model), not self.cfg.get('skip_checks')
        recompute_without_reentry(model)
        if checks and target == 'train_step':
            try_validation(self)
        if not isinstance(model, CoTraining):
            super()._maybe_compile(target)
            return
        if not checks:
            model.scheme.check_network = False
        options = self.cfg.get('compile')
        if options is not None and options is not False:
            compile_parts(model, options)

    # ---- checks ------------------------------------------------------------------

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """Check the data before training, and report bad samples after it."""
        bad = self._bad_samples()
        if is_main_process():
            bad.listed.unlink(missing_ok=True)  # of an earlier start
        loaders = self._train_dataloader, self._val_dataloader
        check_data(unwrapped(self.model), *loaders, self._val_evaluator, bad)
        try:
            yield
        finally:
            if count := len(bad.names()):
                self.logger.warning(f'{count} bad samples are listed in {bad.listed}.')

    def _bad_samples(self) -> BadSamples:
        listed = Path(self.work_dir, 'bad_data.txt')
        return BadSamples(self.cfg.get('bad_data', 'raise'), listed)

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper | dict
    ) -> OptimWrapper | OptimWrapperDict:
        if isinstance(optim_wrapper, dict):
            stock = '.mim' in Path(self.cfg.filename or '').parts
            check_optimizer(unwrapped(self.model), optim_wrapper, stock)
        return super().build_optim_wrapper(optim_wrapper)

    # ---- weights to start from ---------------------------------------------------

    def load_checkpoint(
        self, filename: str, map_location: str = 'cpu', **kwargs: object
    ) -> dict:
        """Load initial weights; raise if they hardly match or, resumed, do not fit."""
        resumed, self._resumed = self._resumed, None
        checkpoint = resumed or read_checkpoint(filename, map_location, self.trusts)
        if not resumed:  # hooks of averages get what the model gets
            checkpoint['state_dict'] = state_dict(checkpoint, filename)
            checkpoint.pop('ema_state_dict', None)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        weights = dict(state_dict=checkpoint.get('state_dict', {}))
        load_to_train(unwrapped(self.model), weights, filename, bool(resumed))
        self._has_loaded = True
        self.logger.info(f'Loaded {filename}')
        return checkpoint

    def _init_model_weights(self) -> None:
        """Initialise the model and load a pretrained backbone.

        For ``init_cfg=dict(type='Pretrained', ...)`` of the backbone or of the model,
        :func:`load_backbone` and :func:`load_to_train` replace MMEngine's loading,
        which skips what does not fit.
        """
        model: Any = unwrapped(self.model)
        # mmpretrain's wrapper of timm has no separate backbone.
        whole = isinstance(model, TimmClassifier)
        owner: Any = model if whole else getattr(model, 'backbone', None)
        init: Any = getattr(model, 'init_cfg', None)
        of_model = not whole and type_name(init) in _FROM_FILE
        if of_model and 'checkpoint' in init and not init.get('prefix'):
            # Checked like `load_from`; MMEngine would take whatever has the same name.
            self._load_from = self._load_from or init['checkpoint']
            model.init_cfg = None
        init = getattr(owner, 'init_cfg', None)
        if type_name(init) not in _FROM_FILE:
            super()._init_model_weights()
            return
        owner.init_cfg = None
        # Backbones of mmseg print that they start from scratch, which this one won't.
        with contextlib.redirect_stdout(io.StringIO()):
            super()._init_model_weights()
        owner.init_cfg = init
        if self._resume and self._load_from:
            return  # resuming loads all weights
        options = dict(self.cfg.get('carry_over') or {})
        check_carry_over(options)
        options |= dict(trust=self.trusts, prefix=init.get('prefix'))
        network = model.model if whole else owner
        self.logger.info(str(load_backbone(network, init['checkpoint'], **options)))


def register_ours(runner: Any, scheme: Any) -> None:
    """Register those of mmcosub's hooks that a run needs and does not have.

    ``scheme`` is that of the run, its class or None.
    """
    names = ['NonFiniteLossHook', 'RunFactsHook']
    if scheme is not None:
        names.append('CoTrainingLossHook')
        if scheme.changes_statistics:
            names.append('FullNetworkBNHook')
    present = {kind.__name__ for hook in runner.hooks for kind in type(hook).__mro__}
    for name in names:
        if name not in present:
            runner.register_hook(dict(type=f'mmcosub.{name}'))
