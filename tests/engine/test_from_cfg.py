"""A scheme is not lost on the usual way to train in Python."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmcosub.engine import CoTrainingRunner, apply_scheme, list_schemes
from mmcosub.models import CoTrainingEncoderDecoder


def test_runner_from_cfg_respects_the_scheme(config: Path) -> None:
    cfg = Config.fromfile(config)
    assert type(Runner.from_cfg(cfg)) is Runner
    apply_scheme(cfg, 'cosub')
    cfg.experiment_name = 'another'
    runner = Runner.from_cfg(cfg)
    assert type(runner) is CoTrainingRunner
    runner.train()
    assert isinstance(runner.model, CoTrainingEncoderDecoder)
    assert runner.model.plans_drawn == 4


@pytest.mark.slow
def test_without_an_import(config: Path, tmp_path: Path) -> None:
    # The fragment alone is enough: it is a config that imports the package.
    derived = tmp_path / 'derived.py'
    bases = [str(config), str(list_schemes()['cosub'])]
    derived.write_text(f'_base_ = {bases}')
    script = (
        'from mmengine.config import Config; from mmengine.runner import Runner; '
        f'cfg = Config.fromfile({str(derived)!r}); '
        'print(type(Runner.from_cfg(cfg)).__name__)'
    )
    command = [sys.executable, '-W', 'ignore', '-c', script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert 'CoTrainingRunner' in done.stdout.splitlines(), done.stderr


def test_flexible_runner_is_refused(config: Path) -> None:
    cfg = Config.fromfile(config)
    apply_scheme(cfg, 'cosub')
    with pytest.raises(ValueError, match=r'FlexibleRunner trains without it'):
        FlexibleRunner.from_cfg(cfg)


def test_a_runner_of_ones_own_says_that_it_does_not(
    config: Path, capsys: pytest.CaptureFixture
) -> None:
    class Own(Runner):
        """A user's."""

    class Derived(CoTrainingRunner):
        """A user's that does."""

    cfg = Config.fromfile(config)
    for kind, scheme, said in (
        (Own, None, False),
        (Own, 'cosub', True),
        (Derived, 'cosub', False),
    ):
        if scheme:
            apply_scheme(cfg, scheme)
        cfg.experiment_name = f'{kind.__name__} {scheme}'
        capsys.readouterr()
        runner = kind.from_cfg(cfg)
        assert ('Own trains without it' in ''.join(capsys.readouterr())) == said
        assert isinstance(runner.model, CoTrainingEncoderDecoder) == (kind is Derived)


def test_wrapped_by_somebody_else_too(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = Runner.from_cfg.__func__

    @functools.wraps(stock)
    def theirs(cls: type, cfg: Config) -> Runner:
        return stock(cls, cfg)

    monkeypatch.setattr(Runner, 'from_cfg', classmethod(theirs))
    cfg = Config.fromfile(config)
    apply_scheme(cfg, 'cosub')
    assert type(Runner.from_cfg(cfg)) is CoTrainingRunner
