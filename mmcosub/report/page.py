"""From work directories to a page."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import mmcosub
from mmcosub.config.model_settings import classifies, last_head
from mmcosub.config.setting_changes import compare
from mmcosub.files import atomic_write

from .curves import make_curves
from .figures import HEIGHT, RUN_COLOURS, WIDTH
from .run import Run, read_run
from .seeds import compare_trainings
from .tables import compare_classes, summarize, table_paths, write_tables

Task = tuple[bool, int | None, str]
"""True for segmentation, the number of classes, and the dataset class."""


def make_report(work_dirs: Sequence[Path], out: Path) -> None:
    """Write a page about some runs, and CSV files of their values beside it.

    No file of a run is executed.

    Args:
        work_dirs (Sequence[Path]): Their work directories, as MMEngine's runner writes
            them.
        out (Path): The HTML file to write.

    Raises:
        ValueError: If a folder has no logs or config; names the folder.
    """
    runs = [read_run(Path(folder)) for folder in work_dirs]
    _name_apart(runs)
    page = render(runs, [path.name for path in table_paths(out)])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_tables(out, runs)
    with atomic_write(out) as partial:
        partial.write_text(page, encoding='utf-8')


def render(runs: Sequence[Run], tables: Sequence[str] = ()) -> str:
    """Return the page as HTML; ``tables`` are the names of the CSV files beside it."""
    tasks: dict[Task, dict[int, Run]] = {}
    for number, run in enumerate(runs):
        tasks.setdefault(task_of(run), {})[number] = run
    environment = Environment(
        loader=PackageLoader('mmcosub.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(zip=zip, width=WIDTH, height=HEIGHT, colours=RUN_COLOURS)
    script = (Path(__file__).parent / 'templates' / 'sort.js').read_text('utf-8')
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template('report.html.jinja').render(
        runs=runs,
        groups=[_group(task, of_task) for task, of_task in tasks.items()],
        tables=tables,
        script=Markup(script),
        # The browser runs no other script.
        script_hash=base64.b64encode(digest).decode(),
        title=f'Run {runs[0].name}' if len(runs) == 1 else f'{len(runs)} runs compared',
        version=mmcosub.__version__,
        now=datetime.now().strftime('%Y-%m-%d %H:%M'),
    )


def task_of(run: Run) -> Task:
    """Return the task of a run; runs of the same task can be compared."""
    cfg = run.cfg
    loader = cfg.get('val_dataloader') or cfg.get('train_dataloader') or {}
    data: Any = loader.get('dataset') or {}
    classes = last_head(cfg).get('num_classes')
    return not classifies(cfg), classes, str(data.get('type'))


def _group(task: Task, runs: Mapping[int, Run]) -> dict[str, Any]:
    """Prepare text and figures of the runs of one task for the template."""
    segments, count, _ = task
    kind = 'Segmentation' if segments else 'Classification'
    return dict(
        title=f'{kind}, {count} classes' if count else kind,
        runs=list(runs),
        names=[run.name for run in runs.values()],
        summary=summarize(runs),
        seeds=compare_trainings(runs),
        curves=make_curves({i: run.records for i, run in runs.items()}),
        by_class=compare_classes([run.records for run in runs.values()]),
        differences=compare([run.settings for run in runs.values()]),
    )


def _name_apart(runs: Sequence[Run]) -> None:
    """Add as many parent folders as tell runs apart whose folders share a name."""
    folders = [run.work_dir.resolve().parts for run in runs]
    for run, own in zip(runs, folders, strict=True):
        others = {folder for folder in folders if folder != own}
        length = 1
        while any(other[-length:] == own[-length:] for other in others):
            length += 1
        run.name = Path(*own[-length:]).as_posix()
