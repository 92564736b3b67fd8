"""What a checkpoint predicts: counts, measures, submodels, and what does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmcosub.report.classes import (
    class_iou,
    class_recall,
    confusion,
    share_right,
)
from mmcosub.report.gallery import most_wrong
from mmcosub.report.predictions import Predictions
from mmcosub.report.run import read_run


def test_counts_by_hand() -> None:
    label = np.array([[0, 0, 1], [2, 255, 1]])
    prediction = np.array([[0, 1, 1], [0, 2, 1]])
    matrix = confusion(label, prediction, 3, 255)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert class_iou(matrix).tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert class_recall(matrix).tolist() == pytest.approx([0.5, 1, 0])
    assert share_right(label, prediction, 255) == 3 / 5
    assert share_right(np.full(3, 255), np.zeros(3, dtype=int), 255) == 1


def test_a_class_that_does_not_count() -> None:
    label = np.array([[0, 0, 1, 2]])
    prediction = np.array([[1, 2, 1, 2]])
    matrix = confusion(label, prediction, 3, 0)
    maps = (torch.from_numpy(each) for each in (prediction, label))
    hits, union, *_ = IoUMetric.intersect_and_union(*maps, 3, 0)
    stock = (hits / union).numpy()
    assert class_iou(matrix) == pytest.approx(stock, nan_ok=True)
    assert np.isnan(stock).tolist() == [True, False, False]
    assert share_right(label, prediction, 0) == 1


def test_a_class_that_is_nowhere_has_no_measure() -> None:
    matrix = confusion(np.array([0, 0]), np.array([0, 0]), 2, 255)
    assert np.isnan(class_iou(matrix)).tolist() == [False, True]
    assert np.isnan(class_recall(matrix)).tolist() == [False, True]


def test_a_class_that_the_data_do_not_have() -> None:
    with pytest.raises(ValueError, match=r'predicts class 2 .* data have 2 classes'):
        confusion(np.array([0, 1]), np.array([0, 2]), 2, 255)


def test_measures_are_those_that_training_logged(cosub_run: Path) -> None:
    run = read_run(cosub_run)
    path = run.checkpoint('best')
    assert path is not None
    found = Predictions(run.cfg, path).evaluate()
    matrix, right = found.matrix, found.right
    miou = 100 * np.nanmean(class_iou(matrix))
    assert miou == pytest.approx(run.records.series('mIoU')[-1][1], abs=0.006)
    accuracy = 100 * np.trace(matrix) / matrix.sum()
    assert accuracy == pytest.approx(run.records.series('aAcc')[-1][1], abs=0.006)
    assert 100 * right.mean() == pytest.approx(accuracy)  # images of one size


def test_what_the_head_ignores_does_not_count(cosub_run: Path) -> None:
    run = read_run(cosub_run, {'model.decode_head.ignore_index': 2})
    found = Predictions(run.cfg, cosub_run / 'iter_6.pth').evaluate()
    assert found.matrix[2].sum() == 0 < found.matrix[1].sum()
    share = np.trace(found.matrix) / found.matrix.sum()
    shares = [found.sample(i).right for i in range(4)]
    assert found.right.tolist() == shares
    pixels = [(found.sample(i).label != 2).sum() for i in range(4)]
    assert np.average(shares, weights=pixels) == pytest.approx(share)


def test_some_of_the_images(cosub_run: Path) -> None:
    run = read_run(cosub_run)
    predictions = Predictions(run.cfg, cosub_run / 'iter_6.pth', images=2)
    assert (predictions.indices, predictions.total) == ([0, 3], 4)
    assert predictions.evaluate().right.shape == (2,)
    assert predictions.sample(1).name == '3'


def test_the_order_is_that_of_the_data(cosub_run: Path) -> None:
    """Whatever order the config's own sampler has."""
    run = read_run(cosub_run, {'val_dataloader.sampler.shuffle': True})
    predictions = Predictions(run.cfg, cosub_run / 'iter_6.pth')
    right = predictions.evaluate().right
    assert len({*right}) > 1
    assert right.tolist() == [predictions.sample(i).right for i in range(4)]


def test_disagreement_is_the_share_that_predicts_otherwise(cosub_run: Path) -> None:
    run = read_run(cosub_run)
    predictions = Predictions(run.cfg, cosub_run / 'iter_6.pth', submodels=2)
    # A submodel that keeps all agrees; one that drops all is asked by the stock blocks.
    predictions.submodels = np.stack([np.ones(8), np.zeros(8)])
    found = predictions.sample(0)
    for block in predictions.model.backbone.modules():
        if hasattr(block, 'attn') and hasattr(block, 'ffn'):
            block.forward = lambda x, *_: x
    predictions.submodels = predictions.submodels[:0]
    bare = predictions.sample(0).prediction
    assert found.disagreement is not None
    assert np.array_equal(found.disagreement, (bare != found.prediction) / 2)
    assert 0 < found.disagreement.mean() < 0.5


def test_submodels_are_those_of_the_scheme(cosub_run: Path) -> None:
    run = read_run(cosub_run)
    submodels = Predictions(run.cfg, cosub_run / 'iter_6.pth').submodels
    assert submodels.shape == (4, 8)
    kept = submodels[submodels > 0]
    rates = 1 - 1 / kept
    assert (submodels == 0).any()
    assert rates.max() == pytest.approx(0.4)  # of the tiny model


def test_a_plain_run_has_no_submodels(plain_run: Path) -> None:
    run = read_run(plain_run)
    predictions = Predictions(run.cfg, plain_run / 'iter_4.pth')
    assert len(predictions.submodels) == 0
    assert predictions.sample(0).disagreement is None


def test_other_classes(cosub_run: Path) -> None:
    classes = ['one', 'two', 'three', 'four', 'six']
    dataset = 'val_dataloader.dataset'
    run = read_run(cosub_run, {f'{dataset}.metainfo.classes': classes})
    with pytest.raises(ValueError, match=r"other classes.*'five', 'six'.*--cfg-opt"):
        Predictions(run.cfg, cosub_run / 'iter_6.pth')


def test_no_data(cosub_run: Path, tmp_path: Path) -> None:
    for change in ('data_root', 'data_prefix.img_path'):
        run = read_run(cosub_run, {f'val_dataloader.dataset.{change}': str(tmp_path)})
        with pytest.raises(ValueError, match=r'validation.*data_root=FOLDER'):
            Predictions(run.cfg, cosub_run / 'iter_6.pth')


def test_the_most_wrong_ones() -> None:
    assert most_wrong(np.array([1, 0.5, 1, 0.2]), 3) == [3, 1]
    first, *ties = most_wrong(np.array([0.5, 0.1, *[0.5] * 90, 1.0]), 4)
    assert first == 1
    assert len({*ties} - {1, 92}) == 3
    assert max(ties) > 10  # not all from the beginning of sorted data


def test_facts_of_the_start(cosub_run: Path) -> None:
    facts = json.loads(next(cosub_run.glob('2*/facts.json')).read_text())
    assert facts['seed'] == 0
    assert facts['config'].endswith('tiny.py')
    assert {'mmcosub', 'torch', 'Python'} <= facts['versions'].keys()
