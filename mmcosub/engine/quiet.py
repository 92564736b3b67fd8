"""Settings of single parameters: in the log file, not on the screen."""

import contextlib
import io
import logging
from collections.abc import Iterator

from mmengine.logging import MMLogger


@contextlib.contextmanager
def listed_in_file_only(logger: MMLogger) -> Iterator[None]:
    """Keep what is logged or printed in the context off the screen.

    The constructors of optimizers of MMEngine and MMSegmentation say one or several
    lines about each parameter, before which nothing else can be seen. Warnings are
    shown, and everything is at ``log_level='DEBUG'``.

    Args:
        logger (MMLogger): The run's logger.
    """
    screens = [
        handler
        for handler in logger.handlers
        # One that writes to a file is one of streams, too.
        if type(handler) is logging.StreamHandler and handler.level > logging.DEBUG
    ]
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
