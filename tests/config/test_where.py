"""Errors name the setting, or the part of the model, that they come from."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.bad_settings import NAMED
from benchmarks.fault_settings import Setting, arguments

SOME = [*NAMED][::12]


@pytest.fixture
def said(
    train: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> Callable[..., str]:
    """What the script prints of arguments that it refuses, which is one line."""

    def say(*argv: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            train.main([*argv, '--work-dir', str(tmp_path / 'w')])
        assert exit_.value.code == 2
        printed = capsys.readouterr().err
        (line,) = re.findall(r': error(?: \(rank \w+\))?: (.*)', printed)
        return line

    return say


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    'setting',
    [s if s in SOME else pytest.param(s, marks=pytest.mark.slow) for s in NAMED],
)
@pytest.mark.sweep(every=3)
def test_setting(setting: str, said: Callable[..., str], tmp_path: Path) -> None:
    line = said(*arguments(Setting(), tmp_path, 4), '--cfg-options', setting)
    assert re.search(NAMED[setting], line), line
    assert 'no reason given' not in line
    assert len(line) < 600


@pytest.mark.parametrize(
    ('flag', 'meant'),
    [
        ('--cotrain', '--co-train'),
        ('--work_dir', '--work-dir'),
        ('--cfgoptions', '--cfg-options'),
        ('--amp-mode', '--amp'),
        ('--resume-from', '--resume'),
    ],
)
def test_flag(flag: str, meant: str, said: Callable[..., str]) -> None:
    assert f'Did you mean {meant!r}?' in said('a.py', flag, 'b')


@pytest.mark.parametrize('name', ['WORLD_SIZE', 'RANK', 'MASTER_PORT', 'LOCAL_RANK'])
def test_variable_of_a_launcher(
    name: str, said: Callable[..., str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ('WORLD_SIZE', 'RANK', 'MASTER_PORT', 'MASTER_ADDR'):
        monkeypatch.setenv(each, '1')
    monkeypatch.setenv(name, 'x')
    line = said(str(config), '--launcher', 'pytorch')
    assert f"environment variable {name} must be a whole number, not 'x'" in line


def test_byte_order_marks(
    said: Callable[..., str], config: Path, scenes: Path, tmp_path: Path
) -> None:
    listed = tmp_path / 'list.txt'
    listed.write_text('\ufeff0\n1\n')
    option = f'train_dataloader.dataset.ann_file={listed}'
    line = said(str(config), '--cfg-options', option)
    assert 'list.txt begins with a byte order mark' in line
    config.write_text('\ufeff' + config.read_text())
    assert 'tiny.py cannot be read as a config (it begins with a byte' in said(
        str(config)
    )


def test_syntax_error_names_the_line(said: Callable[..., str], config: Path) -> None:
    config.write_text('a = 1\nmodel = dict(\n')
    assert 'line 2' in said(str(config))
