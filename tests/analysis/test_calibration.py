"""Quality of probabilities, by hand and against scikit-learn's like."""

import math

import numpy as np
import pytest
import torch

from mmcosub.analysis.uncertainty import ProbabilityScores


def test_by_hand():
    # Two classes, four pixels, one without label.
    probabilities = torch.tensor([[0.9, 0.8, 0.3, 0.5], [0.1, 0.2, 0.7, 0.5]])
    labels = torch.tensor([[0, 1], [1, 255]])
    quality = ProbabilityScores(2)
    assert quality.add(probabilities.reshape(2, 2, 2), labels) == pytest.approx(1 / 3)
    result = quality.result()
    assert result['accuracy'] == pytest.approx(200 / 3)
    assert result['nll'] == pytest.approx(-math.log(0.9 * 0.2 * 0.7) / 3)
    # Each in a bin of its own: |1 - 0.9|, |0 - 0.8|, |1 - 0.7|.
    assert result['ece'] == pytest.approx(100 * (0.1 + 0.8 + 0.3) / 3)
    # Class 0: one of two; class 1: one of two.
    assert result['mIoU'] == pytest.approx(50)


def test_a_threshold_decides_what_is_predicted():
    # At 0.4 it is class 1, which is right; at 0.2 class 0, which is wrong.
    quality = ProbabilityScores(2, threshold=0.3)
    quality.add(torch.tensor([[0.6, 0.8], [0.4, 0.2]]), torch.tensor([1, 1]))
    result = quality.result()
    assert result['accuracy'] == 50
    assert result['mIoU'] == pytest.approx(25)  # class 0: 0 of 1, class 1: 1 of 2
    # Each in a bin of its own: |1 - 0.4|, |0 - 0.8|.
    assert result['ece'] == pytest.approx(100 * (0.6 + 0.8) / 2)


def test_images_together_are_one():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 40, generator=generator)
    labels = torch.randint(0, 5, (3, 40), generator=generator)
    apart, together = ProbabilityScores(5), ProbabilityScores(5)
    for z, y in zip(logits, labels, strict=True):
        apart.add(z.softmax(0), y)
    together.add(logits.transpose(0, 1).softmax(0).flatten(1), labels.flatten())
    assert apart.result() == pytest.approx(together.result())
    assert together.result()['nll'] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-6
    )


def test_calibrated_is_zero():
    rng = np.random.default_rng(0)
    share = torch.from_numpy(rng.uniform(0.5, 1, 200_000))
    labels = torch.from_numpy((rng.random(200_000) > share.numpy()).astype(int))
    quality = ProbabilityScores(2)
    quality.add(torch.stack([share, 1 - share]), labels)
    assert quality.result()['ece'] < 0.5


def test_a_class_that_is_impossible_costs_but_is_finite():
    quality = ProbabilityScores(2)
    quality.add(torch.tensor([1.0, 0.0]), torch.tensor(1))
    assert quality.result()['nll'] == pytest.approx(-math.log(1e-12), rel=1e-3)


def test_without_labels_nothing_counts():
    quality = ProbabilityScores(2)
    assert quality.add(torch.tensor([0.5, 0.5]), None) is None
    assert quality.add(torch.tensor([[0.5], [0.5]]), torch.tensor([255])) is None
    assert not quality.sums.any()
