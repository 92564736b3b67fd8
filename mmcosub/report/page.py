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
from mmcosub.config.model_settings import classifies
from mmcosub.config.setting_changes import compare
from mmcosub.files import atomic_write

from .classes import measure_classes, show_confusion
from .curves import make_curves
from .figures import HEIGHT, RUN_COLOURS, WIDTH
from .gallery import Gallery, make_galleries, share_uri
from .predictions import Predictions
from .records import logged_classes
from .run import Run, read_run
from .seeds import compare_trainings
from .tables import summarize, table_paths, write_tables

Task = tuple[bool, int | None, str]
"""True for segmentation, the number of classes, and the dataset class."""


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
    runs: Sequence[Run],
    predicted: Mapping[int, Predictions],
    tables: Sequence[str] = (),
) -> str:
    """Return the page as HTML, with predictions by number of the run.

    ``tables`` are the names of the CSV files beside it.
    """
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
    environment.filters['fractions'] = share_uri
    environment.globals.update(zip=zip, width=WIDTH, height=HEIGHT, colours=RUN_COLOURS)
    script = (Path(__file__).parent / 'templates' / 'sort.js').read_text('utf-8')
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template('report.html.jinja').render(
        runs=runs,
        groups=[
            make_group(
                task, of_task, {i: predicted[i] for i in of_task if i in predicted}
            )
            for task, of_task in tasks.items()
        ],
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
    head = cfg.model.get('decode_head') or cfg.model.get('head') or {}
    head = head[-1] if isinstance(head, list) else head
    loader = cfg.get('val_dataloader') or cfg.get('train_dataloader') or {}
    data: Any = loader.get('dataset') or {}
    return not classifies(cfg), head.get('num_classes'), str(data.get('type'))


def make_group(
    task: Task, runs: Mapping[int, Run], predicted: Mapping[int, Predictions]
) -> dict[str, Any]:
    """Prepare text and figures of the runs of one task for the template."""
    segments, count, _ = task
    kind = 'Segmentation' if segments else 'Classification'
    about = 'Of the checkpoints above.'
    if not predicted:
        about = 'As the last validation has logged it.'
    by_class = {}
    for i, run in runs.items():
        if i in predicted:
            by_class[i] = predicted[i].by_class()
        elif segments and (logged := logged_classes(run.records.starts)):
            by_class[i] = logged
    return dict(
        title=f'{kind}, {count} classes' if count else kind,
        runs=list(runs),
        names=[run.name for run in runs.values()],
        summary=summarize(runs, predicted),
        seeds=compare_trainings(runs),
        curves=make_curves({i: run.records for i, run in runs.items()}),
        by_class=measure_classes(
            by_class, 'IoU by class' if segments else 'Recall by class', about
        ),
        confusions={
            i: show_confusion(of.matrix, of.classes) for i, of in predicted.items()
        },
        galleries=_galleries(predicted),
        differences=compare([run.settings for run in runs.values()]),
    )


def _galleries(predicted: Mapping[int, Predictions]) -> list[Gallery]:
    """Make galleries, shared by runs that predict the same images."""
    of_images: dict[tuple, dict[int, Predictions]] = {}
    for i, one in predicted.items():
        # Compare files: folds of a dataset may have equally many images.
        images = (one.total, *one.indices, *one.files)
        of_images.setdefault(images, {})[i] = one
    return [gallery for same in of_images.values() for gallery in make_galleries(same)]


def _predict(run: Run, which: str, images: int | None, trust: bool) -> Predictions:
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
