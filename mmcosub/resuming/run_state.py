"""State of a run that MMEngine's checkpoints lack, or that they hold as code."""

from itertools import chain
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import EarlyStoppingHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from . import unwrapped
from .resume_checks import is_built, states_of

GRADIENTS = 'accumulated_gradients'
VALIDATED = 'last_validation'
"""Key in the message hub for the iteration of the last validation."""
_PATIENCE = 'early_stopping'


def add_state(runner: Runner, checkpoint: dict) -> None:
    """Add the state of hooks to a checkpoint, and remove methods of schedules.

    OneCycleLR has one in its state, and with it the optimizer and all weights again.
    """
    for _, state in states_of(checkpoint.get('param_schedulers')):
        for key in [key for key, value in state.items() if callable(value)]:
            del state[key]
    if hooks := _early_stopping(runner):
        checkpoint[_PATIENCE] = [[float(h.best_score), h.wait_count] for h in hooks]


def restore_state(runner: Runner, checkpoint: dict) -> None:
    """Restore the state of hooks, and gradients of an unfinished accumulation."""
    saved = checkpoint.get(_PATIENCE, ())
    for hook, state in zip(_early_stopping(runner), saved, strict=False):
        hook.best_score, hook.wait_count = state
        runner.train_loop.stop_training |= hook.wait_count >= hook.patience
    gradients, done = checkpoint.get(GRADIENTS, ()), checkpoint['meta']['iter']
    if any(gradients):
        _restore_gradients(runner, gradients)
    elif done % getattr(runner.optim_wrapper, '_accumulative_counts', 1):
        runner.logger.warning(
            f'The checkpoint ends an accumulation early, after {done} iterations: the '
            'next step of the optimizer has the gradients of fewer iterations.'
        )


def _early_stopping(runner: Runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]


def collect_gradients(runner: Runner) -> list[dict] | None:
    """Return gradients of an unfinished accumulation, one dict a rank, or None.

    Each rank has its own until they are reduced.
    """
    wrapper: Any = runner.optim_wrapper
    counts = getattr(wrapper, '_accumulative_counts', 1)
    if counts == 1 or wrapper._inner_count % counts == 0:
        return None
    own = {
        name: parameter.grad.cpu()
        for name, parameter in unwrapped(runner.model).named_parameters()
        if parameter.grad is not None
    }
    return all_gather_object(own)  # NCCL cannot gather objects on one rank


def _restore_gradients(runner: Runner, gradients: list[dict]) -> None:
    """Restore the gradients of :func:`collect_gradients`.

    On another number of ranks, each takes their mean, as a reduction would give.
    """
    if len(gradients) == runner.world_size:
        gradients = [gradients[runner.rank]]
    for name, parameter in unwrapped(runner.model).named_parameters():
        if given := [each[name] for each in gradients if name in each]:
            parameter.grad = (sum(given) / len(gradients)).to(parameter)


def can_replay(schedules: Any) -> bool:
    """Return True if schedules are configs that depend on the iteration alone."""
    found = str(schedules)
    return not is_built(schedules) and 'ReduceOnPlateau' not in found


def replay_schedules(runner: Runner, configs: Any) -> None:
    """Build schedules anew, and step them as often as the run has been trained.

    The checkpoint's would keep their last value after their end, which is a learning
    rate of 0 for most, if the run is now longer.
    """
    wrapper: Any = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    for group in chain(*(each.optimizer.param_groups for each in wrappers)):
        for key in [key for key in group if key.startswith('initial_')]:
            group[key.removeprefix('initial_')] = group[key]
        if 'initial_momentum' in group and 'betas' in group:
            group['betas'] = (group['initial_momentum'], group['betas'][1])
    built: Any = runner.build_param_scheduler(configs)
    runner.param_schedulers = built
    schedules = [*chain(*built.values())] if isinstance(built, dict) else built
    for schedule in schedules:  # or they would warn of missing steps of the optimizer
        schedule.optimizer._global_step = runner.iter
    loop: Any = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    # The schedules of an epoch that ends with a checkpoint may step after it.
    ends = {len(loop.dataloader) * (n + 1) for n in range(runner.epoch * by_epoch)}
    for done in range(1, runner.iter + 1):
        for schedule in schedules:
            if done in ends or not schedule.by_epoch:
                schedule.step()
