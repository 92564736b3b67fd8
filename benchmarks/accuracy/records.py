"""The file of records: one line a run, its settings and its result."""

import fcntl
import json
from dataclasses import asdict
from pathlib import Path

from settings import Run


class Records:
    """Results by settings, kept in a file of JSON lines.

    A line that was cut short by a stop is left out, so its run is done again. A result
    is found by all of its run's settings, so one of other settings is never taken.

    Args:
        path (Path): The file. It is made when the first result is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, dict] = {}
        self.runs: dict[str, Run] = {}
        lines = path.read_text().splitlines() if path.is_file() else []
        for line in lines:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            self._take(Run(**record['run']), record['result'])

    def _take(self, run: Run, result: dict) -> None:
        self.results[run.key] = result
        self.runs[run.key] = run

    def __contains__(self, run: Run) -> bool:
        return run.key in self.results

    def __getitem__(self, run: Run) -> dict:
        return self.results[run.key]

    def add(self, run: Run, result: dict) -> None:
        """Keep a result, in the file too.

        Args:
            run (Run): The run.
            result (dict): Its result.
        """
        self._take(run, result)
        line = json.dumps(dict(run=asdict(run), result=result), separators=(',', ':'))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('ab+') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # After a line that was cut short, on a line of its own.
            if file.tell() and not _ends_line(self.path):
                file.write(b'\n')
            file.write(line.encode() + b'\n')


def _ends_line(path: Path) -> bool:
    with path.open('rb') as file:
        file.seek(-1, 2)
        return file.read(1) == b'\n'
