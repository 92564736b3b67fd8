"""Trial validation on one batch before training, without side effects."""

import contextlib
import copy
import io
import logging
import random
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import DumpResults
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import MMLogger, print_log
from mmengine.runner import Runner, ValLoop, autocast
from torch import nn
from torch.utils.data import IterableDataset

from mmcosub.config.errors import in_one_line
from mmcosub.names import did_you_mean
from mmcosub.resuming import unwrapped
from mmcosub.submodels import evaluating

from .prediction import odd_spread


def try_validation(runner: Runner) -> None:
    """Validate on one batch; raise if it fails or lacks a metric that hooks monitor.

    Otherwise errors in validation would show after thousands of iterations. Without
    validation, warn of what monitors it.
    """
    loop, training = runner.val_loop, runner.train_loop
    begin = getattr(training, 'val_begin', 1)
    if not isinstance(begin, int):
        raise ValueError(f'train_cfg.val_begin must be a whole number, not {begin!r}.')
    never = begin > max(training.max_iters, training.max_epochs)
    if loop is None or never:
        for setting, name in _monitored(runner):
            said = f'{setting}={name!r} does nothing, as there is no validation.'
            print_log(said, 'current', logging.WARNING)
        return
    if not isinstance(loop, ValLoop) or isinstance(
        loop.dataloader.dataset, IterableDataset
    ):
        return
    check_windows(runner.model)
    try:
        with leaving_no_traces(runner.model):
            metrics, odd = _validate_one_batch(runner.model, loop)
    except Exception as error:
        said = in_one_line(error).rstrip('.')
        raise ValueError(
            f'The first batch of validation fails: {said}. To train without this '
            'trial: --skip-checks.'
        ) from error
    if odd:
        print_log(odd, 'current', logging.WARNING)
    for setting, name in _monitored(runner):
        if name not in metrics:
            hint = did_you_mean(name, metrics, cutoff=0.4)
            raise ValueError(
                f'{setting}={name!r} is not among the results of validation.{hint} '
                f'There are {sorted(metrics)}.'
            )


def check_windows(model: nn.Module) -> None:
    """Raise if a segmentor's sliding windows leave pixels out; other models pass."""
    settings = getattr(getattr(model, 'module', model), 'test_cfg', None) or {}
    if settings.get('mode') != 'slide':
        return
    crop: Any = settings.get('crop_size')
    stride: Any = settings.get('stride')
    try:
        covered = all(0 < step <= size for step, size in zip(stride, crop, strict=True))
    except (TypeError, ValueError):
        covered = False
    if not covered:
        raise ValueError(
            f'model.test_cfg.stride={stride} and crop_size={crop} of mode "slide" must '
            'be two whole numbers above 0 each, and the stride at most crop_size, as '
            'pixels between the windows would get no prediction.'
        )


@contextlib.contextmanager
def leaving_no_traces(model: nn.Module) -> Iterator[None]:
    """Evaluate without output; restore random state, module modes, logs, warnings."""
    states = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    logger = MMLogger.get_current_instance()
    disabled = logger.disabled, logging.root.manager.disable
    try:
        logger.disabled = True
        logging.disable(logging.CRITICAL)
        with (
            evaluating(model),
            torch.random.fork_rng(devices),
            warnings.catch_warnings(),
            np.errstate(all='ignore'),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.disabled = disabled[0]
        logging.disable(disabled[1])
        random.setstate(states[0])
        np.random.set_state(states[1])
        for device in devices:  # the logs report the peak of training
            torch.cuda.reset_peak_memory_stats(device)


def _validate_one_batch(model: Any, loop: ValLoop) -> tuple[dict[str, Any], str]:
    """Return metrics of the first batch, by copies, and what is odd of its images."""
    # Does not advance the loader; files that the pipeline opens belong to the copy.
    dataset: Any = copy.copy(loop.dataloader.dataset)
    if hasattr(dataset, 'pipeline'):
        dataset.pipeline = copy.deepcopy(dataset.pipeline)
    count = min(loop.dataloader.batch_size or 1, len(dataset))
    batch = loop.dataloader.collate_fn([dataset[i] for i in range(count)])
    odd = _odd_values(unwrapped(model).data_preprocessor, copy.deepcopy(batch))
    model.eval()
    with autocast(enabled=loop.fp16):
        outputs = model.val_step(batch)
    evaluator: Any = copy.deepcopy(loop.evaluator)
    evaluator.metrics = [m for m in evaluator.metrics if not isinstance(m, DumpResults)]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for metric in evaluator.metrics:
            if getattr(metric, 'output_dir', None):
                metric.output_dir = folder
        evaluator.process(data_samples=outputs, data_batch=batch)
        for metric in evaluator.metrics:
            # Not `evaluate`, which waits for all processes: one may have failed.
            computed = metric.compute_metrics(metric.results)
            prefix = [metric.prefix] if metric.prefix else []
            found |= {'/'.join([*prefix, name]): computed[name] for name in computed}
    return found, odd


def _odd_values(preprocess: Any, batch: Any) -> str:
    """Say if normalised images are far from mean 0 and deviation 1."""
    found = odd_spread(preprocess, batch)
    return found and (
        f'Images of validation have {found} after normalisation, and should have about '
        '0 and 1. Set mean and std of the data preprocessor to those of loaded values; '
        "LoadImageFromFile keeps more than 8 bits with color_type='unchanged' only."
    )


def _monitored(runner: Runner) -> Iterator[tuple[str, str]]:
    """Return metrics that hooks and schedules monitor, with their settings."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.save_best:
            for name in hook.key_indicators:
                if name != 'auto':
                    yield 'default_hooks.checkpoint.save_best', name
        elif isinstance(hook, EarlyStoppingHook):
            yield 'monitor of EarlyStoppingHook', hook.monitor
    schedules: Any = runner.param_schedulers or []
    if isinstance(schedules, dict):
        schedules = [each for several in schedules.values() for each in several]
    for schedule in schedules:
        if getattr(schedule, 'need_val_args', False):
            yield f'monitor of {type(schedule).__name__}', schedule.monitor
