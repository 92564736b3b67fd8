import functools

from mmengine.logging import print_log


@functools.cache
def log_once(message: str) -> None:
    """Log a message unless this process has done so.

    Args:
        message (str): The message.
    """
    print_log(message, 'current')
