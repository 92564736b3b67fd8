"""Heads, padding and metrics have to ignore the same label."""

from argparse import Namespace
from typing import Any

import pytest
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import RandomRotate
from mmseg.evaluation import IoUMetric

from mmcosub.engine import data
from mmcosub.engine.data import check_metrics, check_pad_values


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines that are logged."""
    init_default_scope('mmseg')
    lines: list[str] = []
    name = 'print_log'
    monkeypatch.setattr(data, name, lambda line, *_: lines.append(line))
    return lines


def dataset(*transforms: dict) -> dict:
    """Config of a dataset inside a wrapper."""
    return dict(type='RepeatDataset', times=2, dataset=dict(pipeline=[*transforms]))


@pytest.mark.parametrize(
    ('transform', 'where', 'value'),
    [
        (dict(type='Pad', size=(8, 8)), "Pad.pad_val['seg']", 255),
        (dict(type='Pad', pad_val=dict(seg=0)), "Pad.pad_val['seg']", 0),
        (dict(type='mmseg.RandomMosaic'), 'RandomMosaic.seg_pad_val', 255),
        (dict(type=RandomRotate, seg_pad_val=3), 'RandomRotate.seg_pad_val', 3),
        (dict(type='Theirs', seg_pad_val=7), 'Theirs.seg_pad_val', 7),
        (None, 'model.data_preprocessor.seg_pad_val', 255),
    ],
)
@pytest.mark.parametrize('ignored', [255, 0, 3, 7, 100])
def test_padding(
    transform: dict | None, where: str, value: int, ignored: int, logged: list[str]
) -> None:
    """Ignored values pass, classes are reported, what transforms add else is refused.

    Of the preprocessor it is reported: stock configs have it, which do not pad.
    """
    preprocessor = Namespace(size=None if transform else (8, 8), seg_pad_val=255)
    config = dataset(*([transform] if transform else []))
    said = f'{where} is {value}, but the heads have ignore_index={ignored}'
    if value != ignored and value >= 5 and transform:
        with pytest.raises(ValueError, match='ignore_index') as refused:
            check_pad_values(preprocessor, config, 5, ignored)
        assert str(refused.value) == f'{said}. Set both to the same.'
        return
    check_pad_values(preprocessor, config, 5, ignored)
    what = 'padding is learned as' if value < 5 else 'the loss fails at images that'
    assert [line.startswith(f'{said}: {what}') for line in logged] == [True] * (
        value != ignored
    )


def test_a_preprocessor_that_does_not_pad(logged: list[str]) -> None:
    preprocessor = Namespace(size=None, size_divisor=None, seg_pad_val=255)
    check_pad_values(preprocessor, dataset(dict(type='RandomFlip')), 5, 0)
    check_pad_values(None, dataset(), 5, 0)
    assert logged == []


@pytest.mark.parametrize(
    'evaluator',
    [
        dict(type='IoUMetric'),
        [dict(type='Theirs'), dict(type=IoUMetric, ignore_index=255)],
        dict(type='Evaluator', metrics=[dict(type='mmseg.IoUMetric')]),
        Evaluator([IoUMetric()]),
    ],
)
def test_metrics(evaluator: Any, logged: list[str]) -> None:
    check_metrics(evaluator, 255)
    check_metrics(None, 255)
    assert logged == []
    check_metrics(evaluator, 0)
    (line,) = logged
    assert line.startswith('IoUMetric has ignore_index=255, but the heads ignore 0')
