"""Curves of a page: which there are, and where their points are drawn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmcosub.report.curves import main_metric, make_curves, thinned
from mmcosub.report.figures import HEIGHT, WIDTH, Line, draw_lines
from mmcosub.report.records import Records
from mmcosub.report.tables import facts_of


@pytest.mark.parametrize('log', [False, True])
def test_points_are_where_the_ticks_are(log: bool) -> None:
    lines = [Line(0, [(0, 1), (10, 2), (30, 4)]), Line(9, [(20, 8), (40, 10)], 1)]
    chart = draw_lines(lines, marked=True, log=log)
    x, y = (
        {label: at for at, label in ticks} for ticks in (chart.x_ticks, chart.y_ticks)
    )
    first, second = chart.lines
    assert first.points[1:] == [(x['10'], y['2']), (x['30'], y['4'])]
    assert second.points == [(x['20'], y['8']), (x['40'], y['10'])]
    assert chart.left < x['10'] < x['40'] < WIDTH
    assert 0 < y['10'] < y['2'] < HEIGHT
    assert (first.run, second.run) == (0, 9)
    assert first.dash != second.dash


def test_unknown_values_are_left_out() -> None:
    values = [1, 2, float('nan'), 1, 2]
    (trace,) = draw_lines([Line(0, [*enumerate(values)])], marked=False).lines
    assert len(trace.points) == 4
    assert draw_lines([Line(0, [(5, float('nan'))])], marked=False).y_ticks


def test_a_constant_and_a_single_point() -> None:
    chart = draw_lines([Line(0, [(5, 0.25)])], marked=False)
    assert len(chart.lines[0].points) == 1
    assert len({label for _, label in chart.y_ticks}) == len(chart.y_ticks) > 1


def test_metrics_of_probabilities() -> None:
    """They are shown beside the first others, each with what is better."""
    values = dict.fromkeys(('aAcc', 'mIoU', 'mAcc', 'x', 'a/NLL', 'ECE', 'Brier'), 1.0)
    curves = make_curves({0: Records(val=[(1, values)])})
    titles = [curve.title for curve in curves]
    assert titles == ['mIoU', 'mAcc', 'aAcc', 'a/NLL', 'ECE', 'Brier']
    assert all('lower is better' in curve.about for curve in curves[3:])


def test_points_are_averaged() -> None:
    points = [(float(i), float(i % 2)) for i in range(1000)]
    assert thinned(points, 1000) == points
    few = thinned(points, 100)
    assert [x for x, _ in few] == pytest.approx(np.arange(100) * 10 + 4.5)
    assert {y for _, y in few} == {0.5}


def test_curves_of_two_runs() -> None:
    co_trained = Records(
        train=[
            (10, dict(loss=3.0, label_view0=1.0, label_view1=2.0, co_training=0.5)),
            (20, dict(loss=2.0, label_view0=0.5, label_view1=1.0, co_training=0.25)),
        ],
        val=[(20, dict(mIoU=30.0, aAcc=70.0, time=1.0))],
    )
    plain = Records(train=[(10, dict(loss=1.0)), (20, dict(loss=0.5))])
    found = {curve.title: curve for curve in make_curves({3: plain, 4: co_trained})}
    assert [*found] == [
        *('mIoU', 'aAcc', 'Loss', 'Label loss of each view', 'Co-training loss')
    ]
    loss = found['Loss']
    assert (loss.runs, loss.ends) == ([3, 4], ['0.5', '2'])
    views = found['Label loss of each view']
    assert views.runs == [4]
    assert 'View 0 solid, view 1 dashed.' in views.about
    assert [path.run for path in views.drawing.lines] == [4, 4]


def test_the_metric_that_counts_may_have_a_prefix() -> None:
    run = Records(val=[(4, {'a/aAcc': 20.0, 'a/mIoU': 10.0, 'other/top1': 1.0})])
    assert main_metric(run) == 'a/mIoU'


def test_memory_and_gradient_norm() -> None:
    values = [(8.0, 900), (2.0, 950)]
    train = [(i, dict(grad_norm=g, memory=m)) for i, (g, m) in enumerate(values)]
    norm, memory = make_curves({0: Records(train=train)})
    assert (norm.title, norm.ends) == ('Gradient norm', ['2'])
    assert (memory.title, memory.ends) == ('Memory', ['950'])
    assert norm.log_drawing
    assert not memory.log_drawing


@pytest.mark.parametrize(
    ('losses', 'labels'),
    [
        ((100.0, 1.0, 0.1), {'0.1', '1', '10', '100'}),
        ((8.0, float('nan'), 1.0), {'2', '4', '6', '8'}),
        ((2.0, 0.0), None),
        ((2.9, 1.0), None),
    ],
    ids=['decades', 'within one', 'zero', 'narrow'],
)
def test_losses_in_log_scale(losses: tuple, labels: set | None) -> None:
    run = Records(train=[(i + 1000, dict(loss=x)) for i, x in enumerate(losses)])
    (curve,) = make_curves({0: run})
    assert bool(curve.log_drawing) == (labels is not None)
    if curve.log_drawing:
        assert labels <= {label for _, label in curve.log_drawing.y_ticks}


def test_the_best_calibration_error_is_the_lowest() -> None:
    val = [(i, dict(ECE=e, mIoU=e)) for i, e in ((4, 3.0), (8, 1.0), (12, 2.0))]
    named: Any = dict.fromkeys(('name', 'work_dir', 'method', 'model'))
    run: Any = SimpleNamespace(**named, records=Records(val=val), facts=dict(seed=0))
    for metric, best in dict(ECE=(1.0, 8), mIoU=(3.0, 4)).items():
        facts = facts_of(run, metric)
        assert (facts['best'], facts['best_iteration']) == best
