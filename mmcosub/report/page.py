"""From work directories to a page."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from mmengine.utils import import_modules_from_strings

import mmcosub
from mmcosub.files import atomic_write

from .figures import RUN_COLOURS
from .group import Task, make_group, task_of
from .predictions import Predicted, Predictions
from .run import Run, read_run
from .tables import table_paths, write_tables


def make_report(
    work_dirs: Sequence[Path],
    out: Path,
    *,
    run_config: bool = False,
    checkpoint: str = 'best',
    images: int | None = None,
    options: dict[str, Any] | None = None,
    trust: bool = False,
) -> None:
    """Write a page about some runs, and CSV files of their values beside it.

    Args:
        work_dirs (Sequence[Path]): Their work directories, as MMEngine's runner writes
            them.
        out (Path): The HTML file to write.
        run_config (bool): Build models and data from the configs, which can execute
            code, and evaluate checkpoints on the validation data, for the confusion
            matrix, per-class metrics and images. Defaults to False.
        checkpoint (str): Checkpoint of a run: 'best' (the last one if none was saved as
            the best) or 'last'. Defaults to 'best'.
        images (int, optional): Number of images to evaluate, evenly spread. Defaults to
            None: all.
        options (dict, optional): Settings by dotted key that have changed since the
            runs, such as the data root. Defaults to None.
        trust (bool): Allow any Python object, which can execute code. Defaults to
            False.

    Raises:
        ValueError: If a folder has no logs or config, or a checkpoint is missing or
            does not fit; names the folder.
    """
    if images is not None and images < 1:
        raise ValueError(f'--images {images} must be 1 or more.')
    runs = [read_run(Path(folder), options) for folder in work_dirs]
    _name_apart(runs)
    predicted = {}
    if run_config:
        for number, run in enumerate(runs):
            predicted[number] = _predict(run, checkpoint, images, trust)
    page = render(runs, predicted, [path.name for path in table_paths(out)])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_tables(out, runs, predicted)
    with atomic_write(out) as partial:
        partial.write_text(page, encoding='utf-8')


def render(
    runs: Sequence[Run], predicted: Mapping[int, Predicted], tables: Sequence[str] = ()
) -> str:
    """Return the page as HTML, with predictions by number of the run.

    ``tables`` are the names of the CSV files beside it.
    """
    tasks: dict[Task, dict[int, Run]] = {}
    for number, run in enumerate(runs):
        tasks.setdefault(task_of(run), {})[number] = run
    groups = [
        make_group(task, of_task, {i: p for i, p in predicted.items() if i in of_task})
        for task, of_task in tasks.items()
    ]
    environment = Environment(
        loader=PackageLoader('mmcosub.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['svg'] = Markup  # our own drawings
    environment.globals['zip'] = zip
    script = (Path(__file__).parent / 'templates' / 'sort.js').read_text('utf-8')
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template('report.html.jinja').render(
        runs=runs,
        groups=groups,
        tables=tables,
        script=Markup(script),
        # The browser runs no other script.
        script_hash=base64.b64encode(digest).decode(),
        title=f'Run {runs[0].name}' if len(runs) == 1 else f'{len(runs)} runs compared',
        colours=RUN_COLOURS,
        version=mmcosub.__version__,
        now=datetime.now().strftime('%Y-%m-%d %H:%M'),
    )


def _predict(run: Run, which: str, images: int | None, trust: bool) -> Predicted:
    path = run.checkpoint(which)
    if path is None:
        raise ValueError(
            f'{run.work_dir} has no checkpoint (*.pth) to predict with. Put one there, '
            'or leave out --run-config.'
        )
    if run.cfg.get('custom_imports'):
        import_modules_from_strings(**run.cfg.custom_imports)
    try:
        return Predictions(run.cfg, path, images, trust=trust).evaluate()
    except ValueError as error:
        raise ValueError(f'{run.work_dir}: {error}') from error


def _name_apart(runs: Sequence[Run]) -> None:
    """Add as many parent folders as tell runs apart whose folders share a name."""
    folders = [run.work_dir.resolve().parts for run in runs]
    for run, own in zip(runs, folders, strict=True):
        others = {folder for folder in folders if folder != own}
        length = 1
        while any(other[-length:] == own[-length:] for other in others):
            length += 1
        run.name = Path(*own[-length:]).as_posix()
