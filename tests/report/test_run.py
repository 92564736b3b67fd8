"""One run, as its work directory has it."""

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
    run.cfg.unlabelled = dict(data_root='more')
    assert run.method == 'Cosub + unlabelled'


def test_a_run_without_our_hook(copied: Path) -> None:
    for file in copied.glob('*/facts.json'):
        file.unlink()
    run = read_run(copied)
    assert run.facts['seed'] == 0
    assert run.facts['git'] is run.facts['command'] is None
    assert 'not recorded' in render([run])


def test_the_dumped_config_where_no_start_has_one(copied: Path) -> None:
    for file in copied.glob('*/vis_data/config.py'):
        file.unlink()
    assert read_run(copied).config_file == copied / 'tiny.py'
