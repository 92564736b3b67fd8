"""Runner that tests a model."""

from mmengine.hooks import EMAHook
from torch import nn

from mmcosub.checkpoints import load_for_prediction, read_checkpoint
from mmcosub.config.model_settings import without_pretrained
from mmcosub.fast.convolutions import fold_norms
from mmcosub.registry import RUNNERS
from mmcosub.resuming import unwrapped

from .data import check_split, classes_of
from .runner import CoTrainingRunner


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
            check_split(model, self._test_dataloader, evaluator=self._test_evaluator)
        return super().test()

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        if isinstance(model, dict):
            model = without_pretrained(model)  # the checkpoint replaces them
        return super().build_model(model)

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list | None = None
    ) -> None:
        """Register the config's hooks except ``EMAHook``.

        A checkpoint already contains the averaged weights, which are those to test. The
        hook would swap them by position with those of a copy, which fails after folding
        norms and, in MMPretrain, under test-time augmentation.
        """
        super().register_hooks(default_hooks, custom_hooks)
        self._hooks = [hook for hook in self._hooks if not isinstance(hook, EMAHook)]

    def load_checkpoint(
        self, filename: str, map_location: str = 'cpu', **kwargs: object
    ) -> dict:
        """Load all weights needed for prediction; raise if they do not fit."""
        checkpoint = read_checkpoint(filename, map_location, self.trusts)
        self._compare_classes(checkpoint, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_for_prediction(unwrapped(self.model), checkpoint, filename)
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
        dataset = getattr(getattr(self._test_loop, 'dataloader', None), 'dataset', None)
        trained, given = (
            (each or {}).get('classes')
            for each in (meta, getattr(dataset, 'metainfo', None))
        )
        if not trained or not given or tuple(trained) == tuple(given):
            return
        other = sorted({*map(str, trained)} ^ {*map(str, given)})[:4]
        said = (
            f'{filename} was trained on {len(trained)} classes, the data to test on '
            f'have {len(given)}; they differ in {other or "their order"}.'
        )
        if len(trained) != len(given):
            raise ValueError(
                f'{said} Set test_dataloader.dataset to data of the same classes (an '
                'image folder needs a folder for each, even if empty).'
            )
        self.logger.warning(f'{said} Is this the right data?')
