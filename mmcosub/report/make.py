"""From work directories to a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.utils import import_modules_from_strings

from .page import Page
from .predictions import Predicted, Predictions
from .run import Run, read_run


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
    """Write a page about some runs.

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
    title = f'Run {runs[0].name}' if len(runs) == 1 else f'{len(runs)} runs compared'
    Page(runs, predicted, title).write(out)


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
        predictions = Predictions(run.cfg, path, images, trust=trust)
        return predictions.evaluate()
    except ValueError as error:
        raise ValueError(f'{run.work_dir}: {error}') from error


def _name_apart(runs: Sequence[Run]) -> None:
    """Add parent folders to the names of runs whose folders share a name.

    Adds as many parents as necessary.
    """
    folders = [run.work_dir.resolve().parts for run in runs]
    for run, own in zip(runs, folders, strict=True):
        others = {folder for folder in folders if folder != own}
        length = 1
        while any(other[-length:] == own[-length:] for other in others):
            length += 1
        run.name = Path(*own[-length:]).as_posix()
