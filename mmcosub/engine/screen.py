"""What a run shows on the screen at its start and its end; the log has everything."""

import contextlib
import io
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from mmcosub.checkpoints.latest import pointed_checkpoint
from mmcosub.config.errors import log_without_tracebacks, outlive_readers

# Listings of hundreds of lines, and warnings of nearly every run.
_PRINTED = 'Printed by the optimizer wrapper:'
_NO_NEWS = (
    *('System environment', 'Config:', 'Hooks will be executed', _PRINTED),
    *('paramwise_options', 'The prefix is not set in metric class'),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias'),
)


class QuietStart(Runner):
    """Runner mixin that keeps listings off the screen at the start.

    ``log_level='DEBUG'`` shows them.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger."""
        outlive_readers()
        logger = super().build_logger(*args, **kwargs)
        log_without_tracebacks(logger)
        self._is_quiet = keep_lists_off(logger)
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        super()._log_env(env_cfg)
        file = Path(self._log_dir, f'{self.timestamp}.log')
        of = f' of {self.world_size} processes' if self.distributed else ''
        hint = ' (--cfg-options log_level=DEBUG shows such lines)' * self._is_quiet
        self.logger.info(f'Environment{of}, config and hooks are in {file}{hint}')

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper | dict
    ) -> OptimWrapper | OptimWrapperDict:
        """Build the optimizer wrapper."""
        with printed_to_log(self.logger):
            return super().build_optim_wrapper(optim_wrapper)


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

    Args:
        runner (Runner): The runner, when it has trained.
        config (str): The config as it was named.
    """
    said, checkpoint = f'Trained for {runner.iter} iterations', None
    info, scalars = runner.message_hub.runtime_info, runner.message_hub.log_scalars
    measured = [k for k in scalars if k.startswith('val/') and not k.endswith('time')]
    result = ''
    if measured:
        result = f'last {measured[0][4:]} {scalars[measured[0]].current():.4g}'
    hook: Any = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    names = getattr(hook, 'key_indicators', None) or ()
    for name in names:
        of_name = f'_{name}' if len(names) > 1 else ''
        best = info.get(f'best_score{of_name}')
        if best is not None:
            checkpoint = info.get(f'best_ckpt{of_name}')
            shown = getattr(hook, 'key_indicator', name) if name == 'auto' else name
            result = f'best {shown} {float(best):.4g}'
            break
    if result:
        said += f'; {result}'
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
