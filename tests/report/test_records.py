"""What a run has logged: joined over resumes, by iterations or epochs."""

import json
from pathlib import Path

import pytest

from mmcosub.report.records import logged_classes, read_records

TABLE = """2026/11/21 16:51:23 - mmengine - INFO - per class results:
2026/11/21 16:51:23 - mmengine - INFO - 
+------------+-------+-------+
|   Class    |  IoU  |  Acc  |
+------------+-------+-------+
| background | {} | 22.32 |
|   a b      |  nan  |  nan  |
+------------+-------+-------+
2026/11/21 16:51:23 - mmengine - INFO - Iter(val) [5/5]
"""  # noqa: W291


def start(work_dir: Path, time: str, *records: dict, log: str = '') -> Path:
    """Logs of a start."""
    folder = work_dir / time
    (folder / 'vis_data').mkdir(parents=True)
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    (folder / 'vis_data' / 'scalars.json').write_text(lines)
    (folder / f'{time}.log').write_text(log)
    return folder


def train(at: int, loss: float, **more: float) -> dict:
    return dict(loss=loss, iter=at, step=at, **more)


def val(at: int, miou: float) -> dict:
    return dict(mIoU=miou, step=at)


def test_a_resumed_run_takes_the_place_of_what_it_did_again(tmp_path: Path) -> None:
    """Killed at 60, resumed from 20, where no validation was due."""
    before = [train(10, 1), train(20, 2), val(20, 5), train(30, 3), train(40, 4)]
    start(tmp_path, '20260101_000000', *before, val(40, 6), train(60, 9))
    after = [train(30, 30), val(40, 60), train(50, 50)]
    start(tmp_path, '20260101_010000', *after)
    records = read_records(tmp_path, metric_by_epoch=False)
    losses = [(10, 1), (20, 2), (30, 30), (50, 50)]
    assert records.series('loss') == losses
    assert records.series('mIoU') == [(20, 5), (40, 60)]
    assert records.iterations == 50
    assert [start.name for start in records.starts] == [
        '20260101_000000',
        '20260101_010000',
    ]


def test_a_run_that_was_begun_anew(tmp_path: Path) -> None:
    start(tmp_path, '20260101_000000', train(10, 1), train(20, 2))
    start(tmp_path, '20260102_000000')  # ended before it logged anything
    start(tmp_path, '20260103_000000', train(5, 7))
    records = read_records(tmp_path, metric_by_epoch=False)
    assert records.series('loss') == [(5, 7)]
    assert [start.name[:8] for start in records.starts] == ['20260101', '20260103']


def test_validations_of_epochs_lie_at_their_iterations(tmp_path: Path) -> None:
    of_training = [train(4, 1, epoch=1), val(1, 5), train(14, 2, epoch=2), val(2, 6)]
    line = 'Epoch(train)  [1][ 4/10]  lr: 1.0'
    start(tmp_path, '20260101_000000', *of_training, log=line)
    records = read_records(tmp_path, metric_by_epoch=True)
    assert records.epoch_length == 10
    assert records.series('mIoU') == [(10, 5), (20, 6)]
    assert records.metrics() == ['mIoU']


def test_length_of_an_epoch_without_a_log(tmp_path: Path) -> None:
    start(tmp_path, '20260101_000000', train(8, 1, epoch=1), train(18, 2, epoch=2))
    assert read_records(tmp_path, metric_by_epoch=True).epoch_length == 9


def test_epochs_mean_nothing_where_a_run_has_none(tmp_path: Path) -> None:
    """MMEngine logs the epoch 0 with each validation then."""
    start(tmp_path, '20260101_000000', train(8, 1), val(0, 5), train(16, 2), val(0, 6))
    records = read_records(tmp_path, metric_by_epoch=True)
    assert records.series('mIoU') == [(8, 5), (16, 6)]


def test_a_line_cut_short(tmp_path: Path) -> None:
    folder = start(tmp_path, '20260101_000000', train(8, 1))
    with (folder / 'vis_data' / 'scalars.json').open('a') as file:
        file.write('{"loss": 2, "it')
    assert read_records(tmp_path, metric_by_epoch=True).series('loss') == [(8, 1)]


def test_no_logs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f'{tmp_path} has no logs.*LocalVisBackend'):
        read_records(tmp_path, metric_by_epoch=True)
    start(tmp_path, '20260101_000000')
    with pytest.raises(ValueError, match=f'The logs of {tmp_path} are empty'):
        read_records(tmp_path, metric_by_epoch=True)


def test_iou_by_class_of_the_last_validation(tmp_path: Path) -> None:
    log = TABLE.format('11.00') + TABLE.format('22.24')
    start(tmp_path, '20260101_000000', train(1, 1), log=log)
    start(tmp_path, '20260102_000000', train(2, 1), log='nothing')
    starts = read_records(tmp_path, metric_by_epoch=False).starts
    found = logged_classes(starts)
    assert found['background'] == 22.24
    assert found['a b'] != found['a b']  # a class that is nowhere
    assert logged_classes(starts[1:]) == {}


def test_of_a_real_run(cosub_run: Path) -> None:
    records = read_records(cosub_run, metric_by_epoch=False)
    assert [at for at, _ in records.series('loss')] == [1, 2, 3, 4, 5, 6]
    assert [at for at, _ in records.series('mIoU')] == [2, 4, 6]
    assert set(logged_classes(records.starts)) == {
        *('one', 'two', 'three', 'four', 'five')
    }
