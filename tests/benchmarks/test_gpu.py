"""The GPU benchmark measures each group once and says where there is no GPU."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with one small group."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    made: list[str] = []

    def group(args: Namespace) -> dict[str, Callable[[], object]]:
        made.append('small')
        x = torch.ones(args.batch, 1000)
        return {'plain': lambda: x + 1, 'cosub': lambda: (x + 1) * 2}

    monkeypatch.setattr(gpu, 'GROUPS', {'small': group})
    gpu.made, gpu.really_loaded = made, gpu.loaded
    monkeypatch.setattr(gpu, 'loaded', lambda args: 12.0)
    yield gpu
    sys.modules.pop('gpu')


def run(gpu: Any, monkeypatch: pytest.MonkeyPatch, *argv: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['gpu.py', *map(str, argv)])
    gpu.main()


@pytest.mark.filterwarnings('ignore')  # of the profiler
def test_each_group_once(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / 'gpu.json'
    argv = ['--device', 'cpu', '--rounds', 2, '--out', out]
    run(gpu, monkeypatch, *argv)
    run(gpu, monkeypatch, *argv)
    assert gpu.made == ['small']
    rows = json.loads(out.read_text())['groups']['small']
    assert rows['plain']['ratio'] == 1
    assert all(row['images_per_second'] > 0 for row in rows.values())
    # Of other settings: not mixed in.
    run(gpu, monkeypatch, *argv, '--batch', 3)
    assert gpu.made == ['small', 'small']
    page = out.with_suffix('.md').read_text()
    assert '| small: cosub |' in page
    assert '12 images a second' in page


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    run(gpu, monkeypatch, '--out', tmp_path / 'gpu.json')
    assert 'nothing was measured' in capsys.readouterr().out
    assert not [*tmp_path.iterdir()]


def test_loads_as_the_recipe_does(gpu: Any) -> None:
    assert gpu.really_loaded(Namespace(batch=2, workers=0), images=4) > 0
