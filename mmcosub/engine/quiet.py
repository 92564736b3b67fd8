"""Short start of a run on the screen; the log file has everything."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from mmcosub.config.errors import log_without_tracebacks, outlive_readers

# Listings of hundreds of lines.
_LISTS = ('System environment', 'Config:', 'Hooks will be executed')
# Warnings that the packages cause in nearly every run.
_KNOWN_WARNINGS = (
    'The prefix is not set in metric class',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
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
        for screen in _screens(logger):
            screen.addFilter(_is_news)
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        super()._log_env(env_cfg)
        file = Path(self._log_dir, f'{self.timestamp}.log')
        of = f' of {self.world_size} processes' if self.distributed else ''
        self.logger.info(f'Environment{of}, config and hooks are in {file}')

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper | dict
    ) -> OptimWrapper | OptimWrapperDict:
        """Build the optimizer wrapper."""
        with listed_in_file_only(self.logger):
            return super().build_optim_wrapper(optim_wrapper)


@contextlib.contextmanager
def listed_in_file_only(logger: MMLogger) -> Iterator[None]:
    """Keep logs and prints within a context off the screen.

    Optimizer constructors of MMEngine and MMSegmentation log several lines for each
    parameter. Warnings are still shown; ``log_level='DEBUG'`` shows everything.
    """
    screens = _screens(logger)
    if not screens:
        yield
        return
    count = 0

    def is_warning(record: logging.LogRecord) -> bool:
        nonlocal count
        count += record.levelno < logging.WARNING
        return record.levelno >= logging.WARNING

    printed = io.StringIO()
    for screen in screens:
        screen.addFilter(is_warning)
    try:
        with contextlib.redirect_stdout(printed):
            yield
        for line in printed.getvalue().splitlines():
            logger.info(line)
    finally:
        for screen in screens:
            screen.removeFilter(is_warning)
    if count > 1:
        logger.info(
            f'{count} lines on settings of parameters are in the log file only '
            '(--cfg-options log_level=DEBUG shows such lines).'
        )


def _screens(logger: MMLogger) -> list[logging.Handler]:
    """Return log handlers that write to the screen."""
    return [
        handler
        for handler in logger.handlers
        # A file handler is a stream handler, too.
        if type(handler) is logging.StreamHandler and handler.level > logging.DEBUG
    ]


def _is_news(record: logging.LogRecord) -> bool:
    text = record.getMessage().lstrip('\n- ')
    return not text.startswith((*_LISTS, *_KNOWN_WARNINGS))
