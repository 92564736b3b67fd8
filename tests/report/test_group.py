"""Runs of one task, side by side."""

import shutil
from pathlib import Path

import numpy as np

from mmcosub.report.page import make_group, render, task_of
from mmcosub.report.predictions import Predictions
from mmcosub.report.run import read_run
from mmcosub.report.tables import summarize


def test_only_predictions_of_the_same_images_share_a_gallery(
    plain_run: Path, scenes: Path, tmp_path: Path
) -> None:
    """Folds have as many images and the same names of files."""
    fold = Path(shutil.copytree(scenes, tmp_path / 'fold'))
    elsewhere = {'val_dataloader.dataset.data_root': str(fold)}
    runs, predicted = {}, {}
    for number, options in enumerate((None, None, elsewhere)):
        runs[number] = read_run(plain_run, options)
        checkpoint = plain_run / 'iter_4.pth'
        found = Predictions(runs[number].cfg, checkpoint, images=2).evaluate()
        predicted[number] = found
    validation = 'validation/0'
    assert predicted[2].files[0] == (
        str(fold / f'images/{validation}.jpg'),
        str(fold / f'annotations/{validation}.png'),
    )
    group = make_group(task_of(runs[0]), runs, predicted)
    spread = [g for g in group['galleries'] if 'evenly spread' in g.title]
    same, other = (gallery.entries[0] for gallery in spread)
    assert [*same] == [0, 1]
    assert [*other] == [2]


def test_the_time_of_an_iteration_is_that_of_training(
    cosub_run: Path,
) -> None:
    """Validations log theirs under the same name: here more often than training."""
    run = read_run(cosub_run)
    at = run.records.train[0][0]
    run.records.train[:] = [(at, dict(time=3.0)), (at, dict(time=5.0))]
    run.records.val[:] = [(at, dict(time=0.1, mIoU=1.0))] * 9
    assert dict(summarize({0: run}, {}))['seconds an iteration'] == ['4']


def test_confusion_of_many_classes_is_a_picture(plain_run: Path) -> None:
    run = read_run(plain_run)
    found = Predictions(run.cfg, plain_run / 'iter_4.pth', images=1).evaluate()
    page = render([run], {0: found})
    assert 'Confusion matrix of' in page
    found.classes += [f'class {i}' for i in range(5, 30)]
    found.matrix = np.pad(found.matrix, (0, 25))
    page = render([run], {0: found})
    assert 'Confusion matrix of' not in page
    assert '<img class="bars" src="data:image/png' in page
