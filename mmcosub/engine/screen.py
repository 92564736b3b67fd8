"""What a run shows on the screen at its start and its end; the log has everything."""

import contextlib
import io
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.logging.logger import MMFormatter
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import LogProcessor, Runner

from mmcosub.checkpoints.latest import pointed_checkpoint
from mmcosub.config.errors import log_without_tracebacks, outlive_readers

# Listings of hundreds of lines, and warnings of nearly every run or that are wrong
# here, as gradients are saved.
_PRINTED = 'Printed by the optimizer wrapper:'
_NO_NEWS = (
    *('System environment', 'Config:', 'Hooks will be executed', _PRINTED),
    *('paramwise_options', 'extras.average', 'The prefix is not set in metric class'),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias'),
    'Resumed iteration number is not divisible by',
)

# What follows from other values.
_LEFT_OUT = r'base_lr|iter|epoch|data_time|aux.*|branch_work|unlabelled_agreement'
_LEFT_OUT_BESIDE_VIEWS = (
    rf'{_LEFT_OUT}|label_view\d+|(.+\.)?(acc_\w+|loss_co_training|loss_label)'
    r'|.+\.loss_\w+'
)
# Values of a line, by importance; others are between these.
_FIRST = ('lr', 'eta', 'loss', 'loss_unlabelled', 'label_views', 'agreement', 'time',
          'co_training')  # fmt: skip
_LAST = ('ramp', 'memory', 'grad_norm', 'unlabelled_confidence', 'unlabelled_used')
_LONGEST = 159 - len('12/31 23:59:59 ')  # before each line


class QuietStart(Runner):
    """Runner mixin that keeps listings off the screen at the start.

    ``log_level='DEBUG'`` shows them.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        outlive_readers()
        logger = super().build_logger(*args, **kwargs)
        log_without_tracebacks(logger)
        self._is_quiet = keep_lists_off(logger)
        for handler in logger.handlers:  # a note needs no name and level
            if isinstance(handler.formatter, MMFormatter):
                handler.formatter.info_format = '%(asctime)s %(message)s'
        return logger

    def build_log_processor(self, log_processor: LogProcessor | dict) -> LogProcessor:
        """Build the log processor: :class:`ShortLines` unless the config has a type."""
        if isinstance(log_processor, dict) and 'type' not in log_processor:
            return ShortLines(**log_processor)
        return super().build_log_processor(log_processor)

    def _log_env(self, env_cfg: dict) -> None:
        super()._log_env(env_cfg)
        file = Path(self._log_dir, f'{self.timestamp}.log')
        of = f' of {self.world_size} processes' if self.distributed else ''
        hint = ' (--cfg-options log_level=DEBUG shows such lines)' * self._is_quiet
        self.logger.info(f'Environment{of}, config and hooks are in {file}{hint}')

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper | dict
    ) -> OptimWrapper | OptimWrapperDict:
        with printed_to_log(self.logger):
            return super().build_optim_wrapper(optim_wrapper)


class ShortLines(LogProcessor):
    """MMEngine's log processor with short lines of training.

    They leave out auxiliary heads and what follows from other values, such as terms of
    ``loss`` that are also in the views' label losses; and more, where a line would have
    160 characters. ``scalars.json`` and trackers get everything.
    ``log_processor.type='LogProcessor'`` logs MMEngine's lines.
    """

    def get_log_after_iter(
        self, runner: Runner, batch_idx: int, mode: str
    ) -> tuple[dict, str]:
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        if mode != 'train':
            return tag, line
        found = {name.removeprefix('train/'): value for name, value in tag.items()}
        views = [name for name in found if name.startswith('label_view')]
        left_out = _LEFT_OUT_BESIDE_VIEWS if views else _LEFT_OUT
        shown = {
            name: f'{value:.3g}' if isinstance(value, float) else value
            for name, value in found.items()
            if not re.fullmatch(left_out, name)
            and (name == 'loss' or value != found.get('loss'))
        }
        if 'lr' in found:
            shown['lr'] = f'{found["lr"]:.2e}'
        info = runner.message_hub.runtime_info
        if 'eta' in info:
            minutes = int(info['eta']) // 60
            shown['eta'] = f'{minutes // 60}h {minutes % 60:02}m'
        if views:
            shown['label_views'] = ' '.join(f'{found[name]:.3g}' for name in views)
        between = [name for name in shown if name not in _FIRST + _LAST]
        short = line[: line.index(']  ') + 1]
        for name in (*_FIRST, *between, *_LAST):
            if name in shown:
                longer = f'{short}  {name}: {shown[name]}'
                if len(longer) > _LONGEST:
                    break
                short = longer
        return tag, short


def keep_lists_off(logger: MMLogger) -> bool:
    """Keep listings off the screen; False if the logger has none or is at DEBUG."""
    screens = [
        handler
        for handler in logger.handlers
        # A file handler is a stream handler, too.
        if type(handler) is logging.StreamHandler and handler.level > logging.DEBUG
    ]
    for screen in screens:
        screen.addFilter(
            lambda record: not record.getMessage().lstrip('\n- ').startswith(_NO_NEWS)
        )
    return bool(screens)


@contextlib.contextmanager
def printed_to_log(logger: MMLogger) -> Iterator[None]:
    """Log what is printed within a context.

    Optimizer constructors of MMSegmentation print several lines for each parameter.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield
    if text := printed.getvalue():
        logger.info(f'{_PRINTED}\n{text}')


def closing_line(runner: Runner, config: str) -> str:
    """Return the result of a training, its checkpoint and the next command.

    The runner has trained; ``config`` is named as the user did.
    """
    said, checkpoint = f'Trained for {runner.iter} iterations', None
    info, scalars = runner.message_hub.runtime_info, runner.message_hub.log_scalars
    measured = [k for k in scalars if k.startswith('val/') and not k.endswith('time')]
    hook: Any = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    names: Any = getattr(hook, 'key_indicators', None) or ()
    of_name = f'_{names[0]}' if len(names) > 1 else ''
    if names and f'best_score{of_name}' in info:
        checkpoint = info.get(f'best_ckpt{of_name}')
        shown = hook.key_indicator if names[0] == 'auto' else names[0]
        said += f'; best {shown} {float(info[f"best_score{of_name}"]):.4g}'
    elif measured:
        name = 'val/mIoU' if 'val/mIoU' in measured else measured[0]
        said += f'; last {name[4:]} {scalars[name].current():.4g}'
    checkpoint = checkpoint or pointed_checkpoint(runner.work_dir)
    if not checkpoint:
        return f'{said}. No checkpoint was saved.'
    file = Path(checkpoint)
    if file.is_absolute() and file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    command = ['mmcosub', 'test', config, str(file)]
    if not runner.cfg.get('test_dataloader'):
        command = ['mmcosub', 'report', runner.work_dir]
    return f'{said}; checkpoint {file}\nNext: {shlex.join(command)}'
