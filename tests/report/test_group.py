"""Runs of one task, side by side."""

from pathlib import Path

from mmcosub.report.records import Records
from mmcosub.report.run import read_run
from mmcosub.report.tables import compare_classes, summarize

TABLE = """per class results:
- INFO -
+-------+-------+
| Class |  IoU  |
+-------+-------+
|   a   | {} |
|   b   | {} |
|   c   |  nan  |
+-------+-------+
"""


def test_the_time_of_an_iteration_is_that_of_training(
    cosub_run: Path,
) -> None:
    """Validations log theirs under the same name: here more often than training."""
    run = read_run(cosub_run)
    at = run.records.train[0][0]
    run.records.train[:] = [(at, dict(time=3.0)), (at, dict(time=5.0))]
    run.records.val[:] = [(at, dict(time=0.1, mIoU=1.0))] * 9
    assert dict(summarize({0: run}))['seconds per iteration'] == ['4']


def test_classes_are_sorted_by_their_mean(tmp_path: Path) -> None:
    runs = []
    for name, ious in (('x', (10.0, 20.0)), ('y', (70.0, 30.0)), ('none', ())):
        (tmp_path / name).mkdir()
        if ious:
            (tmp_path / name / 'a.log').write_text(TABLE.format(*ious))
        runs.append(Records(starts=[tmp_path / name]))
    rows = compare_classes(runs)
    assert rows[:2] == [('a', [10.0, 70.0, None]), ('b', [20.0, 30.0, None])]
    assert rows[2][0] == 'c'  # which occurs nowhere
    assert compare_classes(runs[2:]) == []
