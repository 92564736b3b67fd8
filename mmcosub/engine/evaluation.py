"""Runner that tests a model."""

from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from mmcosub.checkpoints import load_for_prediction, read_checkpoint, state_dict
from mmcosub.config.model_settings import without_pretrained
from mmcosub.fast.convolutions import fold_norms
from mmcosub.registry import RUNNERS

from .data import check_evaluator, check_split, classes_of
from .runner import CoTrainingRunner, unwrapped


@RUNNERS.register_module()
class EvaluationRunner(CoTrainingRunner):
    """Runner that tests a config's model with all weights of a checkpoint.

    Unlike MMEngine's runner, it raises for a checkpoint that does not fit and keeps the
    training config in the work directory.
    """

    trains = False

    def dump_config(self) -> None:
        """Do nothing: the work directory keeps the training config."""

    def test(self) -> dict[str, float]:
        """Check the data, then test; raise if data and config do not agree."""
        model = unwrapped(self.model)
        if classes_of(model):
            check_split(model, self._test_dataloader)
            check_evaluator(model, self._test_evaluator)
        return super().test()

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model without fetching initial weights."""
        return super().build_model(
            without_pretrained(model) if isinstance(model, dict) else model
        )

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list | None = None
    ) -> None:
        """Register the config's hooks, without those that repeat the average.

        A checkpoint already contains the averaged weights of ``EMAHook``. The hook
        would swap them by position with those of a copy, which fails after folding
        norms and, in MMPretrain, under test-time augmentation. It stays, and that is
        refused, if it also tests the trained weights.
        """
        super().register_hooks(default_hooks, custom_hooks)
        both = [
            isinstance(hook, EMAHook) and getattr(hook, 'evaluate_on_origin', False)
            for hook in self._hooks
        ]
        self._hooks = [
            hook
            for hook, stays in zip(self._hooks, both, strict=True)
            if stays or not isinstance(hook, EMAHook)
        ]
        model: Any = self.model
        model = model.module if is_model_wrapper(model) else model
        changed = self.cfg.get('fast') or isinstance(model, BaseTTAModel)
        if changed and any(both):
            raise ValueError(
                'EMAHook with evaluate_on_origin=True swaps weights, which goes with '
                'neither --fast nor --tta: leave those out, or the setting.'
            )

    def load_checkpoint(
        self, filename: str, map_location: str = 'cpu', **kwargs: object
    ) -> dict:
        """Load all weights needed for prediction; raise if they do not fit."""
        checkpoint = read_checkpoint(filename, map_location, self.trusts)
        _require_finite(checkpoint, filename)
        self._compare_classes(checkpoint, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        unused = load_for_prediction(unwrapped(self.model), checkpoint, filename)
        if unused:
            self.logger.warning(
                f'{filename} has {len(unused)} weights that the model does not have: '
                f'{", ".join(unused[:4])}{", ..." if len(unused) > 4 else ""}'
            )
        self._has_loaded = True
        self.logger.info(f'Loaded {filename}')
        if self.cfg.get('fast'):
            folded = fold_norms(unwrapped(self.model))
            self.logger.info(f'{folded} BatchNorms folded into convolutions')
        return checkpoint

    def _compare_classes(self, checkpoint: dict, filename: str) -> None:
        """Raise if data and checkpoint have different classes."""
        meta = checkpoint.get('meta')
        meta = meta.get('dataset_meta') if isinstance(meta, dict) else None
        trained = (meta or {}).get('classes')
        loader = getattr(self._test_loop, 'dataloader', None)
        dataset = getattr(loader, 'dataset', None)
        given = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if not trained or not given or tuple(trained) == tuple(given):
            return
        other = sorted(set(map(str, trained)) ^ set(map(str, given)))
        if len(trained) != len(given):
            raise ValueError(
                f'{filename} was trained on {len(trained)} classes, the data to test '
                f'on have {len(given)}; they differ in {other[:4]}. Set '
                'test_dataloader.dataset to data of the same classes (an image folder '
                'needs a folder for each, even if empty).'
            )
        self.logger.warning(
            f'{filename} was trained on classes of other names or in another order '
            f'({other[:4] or "the same, in another order"}): is this the right data?'
        )


def _require_finite(checkpoint: dict, filename: str) -> None:
    """Raise for weights that are not finite."""
    odd = [
        name
        for name, value in state_dict(checkpoint).items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if odd:
        raise ValueError(
            f'{filename} has {len(odd)} weights that are not finite, '
            f'{", ".join(odd[:3])}: its predictions are meaningless. Take an earlier '
            'checkpoint of the run.'
        )
