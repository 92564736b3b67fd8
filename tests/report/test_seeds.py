"""Trainings that were run with several seeds."""

import math
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmcosub.report import make_report
from mmcosub.report.records import Records
from mmcosub.report.run import Run, read_run
from mmcosub.report.seeds import compare_trainings, half_width

MODEL = dict(type='EncoderDecoder', decode_head=dict(type='FCNHead', num_classes=2))


def run(seed: int | None, *scores: float, **settings: Any) -> Run:
    """A run that has validated so often."""
    cfg = Config(dict(model=MODEL, randomness=dict(seed=seed), **settings))
    return Run(
        name=f'{seed}',
        work_dir=Path(),
        cfg=cfg,
        config_file=Path(),
        records=Records(val=[(at, dict(mIoU=s)) for at, s in enumerate(scores)]),
        facts=dict(seed=seed),
    )


COSUB = dict(scheme=dict(type='Cosub', seed=None))


def test_means_and_differences_of_the_same_seeds() -> None:
    plain = [run(s, score, score - 1) for s, score in enumerate((30.0, 40.0, 50.0))]
    cosub = [run(s, 0, score, **COSUB) for s, score in enumerate((32.0, 41.0, 51.5))]
    mixed = dict(enumerate([cosub[2], plain[0], cosub[0], plain[1], plain[2]]))
    mixed[7] = cosub[1]
    found = compare_trainings(mixed)
    assert found is not None
    assert found.metric == 'mIoU'
    first, second = found.trainings
    assert (first.method, first.runs) == ('Cosub', [0, 2, 7])
    assert (second.method, second.runs) == ('baseline', [1, 3, 4])
    # By hand: t is 4.303, deviations 9.76 and 10, of differences 0.5, over sqrt(3).
    assert first[2:] == ('41.50 ± 24.24', '–', False)
    assert second[2:] == ('39.00 ± 24.84', '-2.50 ± 1.24', True)
    assert not found.unfinished


def test_other_seeds_are_not_compared() -> None:
    runs = [run(s, s) for s in (1, 2, 3)] + [run(s, s, **COSUB) for s in (4, 7, 10)]
    unknown = [run(None, s) for s in (1, 2)] + [run(None, s, **COSUB) for s in (1, 2)]
    for each in (runs, unknown):
        found = compare_trainings(dict(enumerate(each)))
        assert found is not None
        assert [training.difference for training in found.trainings] == ['–', '–']


def test_a_single_run_beside_has_no_interval() -> None:
    found = compare_trainings({0: run(0, 1.0), 1: run(1, 3.0), 2: run(0, 5.0, **COSUB)})
    assert found is not None
    assert found.trainings[1][3:] == ('+4.00', False)


def test_runs_that_go_on_are_left_out() -> None:
    runs = {0: run(0, 1, 2), 1: run(1, 1, 3), 2: run(2, 9), 3: run(0, 5, **COSUB)}
    found = compare_trainings(runs)
    assert found is not None
    assert found.unfinished == [2]
    assert [t.runs for t in found.trainings] == [[0, 1], [3]]


@pytest.mark.parametrize(
    'runs',
    [
        [run(0, 1.0), run(0, 1.0, **COSUB)],
        [run(0, 1.0), run(1, 1.0, optim_wrapper=dict(type='AmpOptimWrapper'))],
        [run(0), run(1)],
        [run(0, float('nan')), run(1, float('nan'))],
    ],
    ids=['single', 'other settings', 'no validation', 'unknown'],
)
def test_nothing_without_seeds(runs: list[Run]) -> None:
    assert compare_trainings(dict(enumerate(runs))) is None


def test_how_a_run_was_started_is_no_setting() -> None:
    resumed = run(1, 2.0, resume=True, load_from='iter_4.pth', log_level='INFO')
    found = compare_trainings({0: run(0, 1.0, resume=False), 1: resumed})
    assert found is not None
    assert found.trainings[0].runs == [0, 1]


def test_the_page_has_them(plain_run: Path, cosub_run: Path, tmp_path: Path) -> None:
    other = tmp_path / 'again'
    other.symlink_to(plain_run)
    page = tmp_path / 'page.html'
    make_report([plain_run, other, cosub_run], page)
    text = page.read_text()
    assert 'Over seeds' in text
    assert text.count('<tr><th scope="row">baseline</th><td>2</td>') == 1
    score = read_run(plain_run).records.series('mIoU')[-1][1]
    assert f'<td>{score:.2f} ± 0.00</td>' in text
    make_report([plain_run, cosub_run], page)
    assert 'Over seeds' not in page.read_text()


def test_interval_of_a_mean() -> None:
    # Mean 2, deviation 1, n = 3: t(0.975, 2) = 4.3027.
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert half_width([5.0, 5.0]) == 0
    assert math.isnan(half_width([1.0]))
