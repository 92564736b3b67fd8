"""One run, as its work directory has it."""

import os
import shutil
from pathlib import Path

import pytest

from mmcosub.report.page import render
from mmcosub.report.run import read_run


@pytest.fixture
def copied(cosub_run: Path, tmp_path: Path) -> Path:
    """A copy of a work directory, in which things can be changed."""
    return Path(shutil.copytree(cosub_run, tmp_path / 'run'))


def test_what_it_says(cosub_run: Path) -> None:
    run = read_run(cosub_run)
    assert (run.name, run.method) == ('run', 'Cosub')
    assert run.model == 'SwinTransformer + UPerHead'
    assert run.config_file.parent.name == 'vis_data'  # that of the last start
    assert run.cfg.train_cfg.max_iters == 6
    assert run.facts['seed'] == 0
    assert run.facts['config'] == str(cosub_run.parent / 'tiny.py')
    changes = {change.key: change for change in run.changes or []}
    assert changes['train_cfg.max_iters'].values == ('4', '6')
    assert changes['scheme.type'].source == 'command line'


def test_changes_since(cosub_run: Path) -> None:
    """What is given has no part in what the run was."""
    run = read_run(cosub_run, {'val_dataloader.batch_size': 3})
    assert run.cfg.val_dataloader.batch_size == 3
    changed = {change.key for change in run.changes or []}
    assert 'train_cfg.max_iters' in changed
    assert 'val_dataloader.batch_size' not in changed


def test_a_run_without_our_hook(copied: Path) -> None:
    """Of a stock training the log tells versions and seed, and nothing the base."""
    for file in copied.glob('*/facts.json'):
        file.unlink()
    run = read_run(copied)
    assert run.facts['seed'] == 0
    assert {'Python', 'PyTorch', 'MMEngine'} <= run.facts['versions'].keys()
    assert run.facts['git'] is run.facts['command'] is None
    assert run.changes is None
    assert 'Not recorded' in render([run], {})


def test_checkpoints(copied: Path) -> None:
    run = read_run(copied)
    assert run.checkpoint('best') == run.checkpoint('last') == copied / 'iter_6.pth'
    for name in ('best_mIoU_iter_2.pth', 'best_mIoU_iter_10.pth'):
        (copied / name).touch()
    assert run.checkpoint('best') == copied / 'best_mIoU_iter_10.pth'
    assert run.checkpoint('last') == copied / 'iter_6.pth'
    (copied / 'best_aAcc_iter_20.pth').touch()  # save_best=['mIoU', 'aAcc']
    assert run.checkpoint('best') == copied / 'best_mIoU_iter_10.pth'
    for path in copied.glob('*.pth'):
        path.unlink()
    (copied / 'last_checkpoint').unlink()
    assert run.checkpoint('best') is None


def test_the_last_checkpoint_is_that_of_most_iterations(copied: Path) -> None:
    """Copying changes the times of files."""
    (copied / 'last_checkpoint').unlink()
    os.utime(copied / 'iter_6.pth', (0, 0))
    os.utime(copied / 'iter_2.pth')
    assert read_run(copied).checkpoint('last') == copied / 'iter_6.pth'


def test_the_dumped_config_where_no_start_has_one(copied: Path) -> None:
    for file in copied.glob('*/vis_data/config.py'):
        file.unlink()
    assert read_run(copied).config_file == copied / 'tiny.py'
