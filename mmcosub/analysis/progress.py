from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bars:
    """Progress bars with remaining time, one below the other.

    A context manager.
    """

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn('{task.description:<24}'),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn('left'),
            TimeRemainingColumn(),
            TextColumn('took'),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> 'Bars':
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    @contextmanager
    def __call__(self, what: str, total: int) -> Iterator[Callable[[int], object]]:
        """Add a bar.

        Args:
            what (str): Description.
            total (int): Maximum number of steps.

        Yields:
            Callable: Function to call with the number of further steps.
        """
        task = self.progress.add_task(what, total=max(total, 1))
        yield lambda steps: self.progress.advance(task, steps)
        self.progress.update(task, completed=max(total, 1))
