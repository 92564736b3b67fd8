"""The files of records: one line a run, its settings and its result."""

import fcntl
import json
from dataclasses import asdict
from pathlib import Path

from settings import KINDS, Run, SceneRun


class Records:
    """Results by settings, kept in files of JSON lines, one for each kind of run.

    A line that was cut short by a stop is left out, so its run is done again. A result
    is found by all of its run's settings, so one of other settings is never taken.

    Args:
        folder (Path): Folder of the files. They are made when a result is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: dict[str, dict] = {}
        self.runs: dict[str, Run | SceneRun] = {}
        for kind in KINDS:
            path = folder / kind.FILE
            for line in path.read_text().splitlines() if path.is_file() else []:
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self._take(kind(**record['run']), record['result'])

    def _take(self, run: Run | SceneRun, result: dict) -> None:
        self.results[run.key] = result
        self.runs[run.key] = run

    def __contains__(self, run: Run | SceneRun) -> bool:
        return run.key in self.results

    def __getitem__(self, run: Run | SceneRun) -> dict:
        return self.results[run.key]

    def add(self, run: Run | SceneRun, result: dict) -> None:
        """Keep a result, in its file too.

        Args:
            run (Run | SceneRun): The run.
            result (dict): Its result.
        """
        self._take(run, result)
        line = json.dumps(dict(run=asdict(run), result=result), separators=(',', ':'))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / run.FILE
        with path.open('ab') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # After a line that was cut short, on a line of its own.
            whole = not path.stat().st_size or path.read_bytes().endswith(b'\n')
            file.write((b'' if whole else b'\n') + line.encode() + b'\n')
