import re
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcosub.models.co_training import CoTraining
from mmcosub.registry import HOOKS
from mmcosub.resuming import unwrapped


@HOOKS.register_module()
class CoTrainingLossHook(Hook):
    """Hook that ramps the co-training weight and logs the views.

    Logged with the losses in every iteration: ``label_view{i}`` (label loss of each
    view at the main head), ``co_training`` (weighted co-training loss), ``agreement``
    (fraction of labelled pixels or images with the same class in all views),
    ``branch_work`` (fraction of the views' branch evaluations that was computed) and,
    with a ramp, ``ramp``. Log lines average them like the losses
    (``log_processor.window_size``).

    Args:
        ramp (int): Iterations of the linear ramp of the co-training weight from 0 to
            the scheme's own. Defaults to 0, no ramp.

    Raises:
        ValueError: If ``ramp`` is negative.
    """

    # After RuntimeInfoHook, before LoggerHook and CheckpointHook.
    priority = 'NORMAL'
    _INFO = 'co_training_plans'
    _EXTRAS = 'co_training_extras'
    _MEANS = r'(label_view\d+|co_training|agreement|branch_work|unlabelled_\w+)$'

    def __init__(self, ramp: int = 0) -> None:
        if ramp < 0:
            raise ValueError(f'ramp={ramp} must not be negative.')
        self.ramp = ramp

    def before_train(self, runner: Runner) -> None:
        """Restore the plans' random state of a resumed checkpoint.

        Otherwise the plans' seed is the run's, on all ranks; torch's seed is already an
        iteration's.
        """
        model = _model(runner)
        # MMEngine averages losses only; other values would be the last iteration's.
        processor = runner.log_processor
        pattern = f'{processor.mean_pattern.pattern}|{self._MEANS}'
        processor.mean_pattern = re.compile(pattern)
        plans = runner.message_hub.runtime_info.get(self._INFO)
        if plans is not None:
            model.scheme.seed, model.plans_drawn = plans['seed'], plans['drawn']
        elif model.scheme.seed is None:
            settings = getattr(runner, '_randomness_cfg', {})
            own = get_rank() if settings.get('diff_rank_seed') else 0
            model.scheme.seed = runner.seed - own  # plans still differ by rank

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the scheme's own state with the model's weights."""
        if state := _model(runner).extras.own_state():
            checkpoint[self._EXTRAS] = state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the scheme's own state."""
        if runner._resume:
            state = checkpoint.get(self._EXTRAS, {})
            _model(runner).extras.load_own_state(state)

    def before_train_iter(self, runner: Runner, **batch: Any) -> None:
        """Set the co-training weight of this iteration."""
        # Above 0 from the ramp's first iteration on, and 1 right after the ramp.
        factor = min((runner.iter + 1) / (self.ramp + 1), 1.0)
        _model(runner).scheme.ramp = factor

    def after_train_iter(self, runner: Runner, **batch: Any) -> None:
        """Log the views, and record how many plans were drawn."""
        model = _model(runner)
        for key, value in model.telemetry.items():
            runner.message_hub.update_scalar(f'train/{key}', value)
        if self.ramp:
            runner.message_hub.update_scalar('train/ramp', model.scheme.ramp)
        runner.message_hub.update_info(
            self._INFO, dict(seed=model.plan_seed, drawn=model.plans_drawn)
        )


def _model(runner: Runner) -> CoTraining:
    model = unwrapped(runner.model)
    if not isinstance(model, CoTraining):
        raise ValueError(
            'CoTrainingLossHook needs a model trained by a scheme, not '
            f'{type(model).__name__}: add one, for instance with --co-train cosub. In '
            'Python, `import mmcosub.engine` before Runner.from_cfg(cfg).'
        )
    return model
