"""Disagreement of submodels, by hand."""

import math

import pytest
import torch

from mmcosub.analysis.predictions import Ensemble, entropy


def ensemble_of(*probabilities):
    ensemble = Ensemble()
    for each in probabilities:
        ensemble.add(torch.tensor(each))
    return ensemble


def test_all_of_one_mind():
    # Unsure, but all alike: nothing that another submodel would tell.
    ensemble = ensemble_of([0.6, 0.4], [0.6, 0.4], [0.6, 0.4])
    assert float(ensemble.mutual_information) == pytest.approx(0, abs=1e-6)
    assert float(ensemble.disagreement) == 0
    assert ensemble.scores()['entropy'] == pytest.approx(0.971, abs=1e-3)


def test_sure_and_opposed():
    ensemble = ensemble_of([1.0, 0.0], [0.0, 1.0])
    assert float(ensemble.mutual_information) == pytest.approx(1)
    assert float(ensemble.disagreement) == 0.5
    assert ensemble.scores()['entropy'] == pytest.approx(1)


def test_by_pixel():
    # Three classes, two pixels: at the first one, one of four thinks otherwise.
    for_first = [0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]
    second = [0.2, 0.2, 0.6]
    ensemble = ensemble_of(
        *[[[a, b] for a, b in zip(first, second, strict=True)] for first in for_first]
    )
    assert ensemble.disagreement.tolist() == [0.25, 0.0]
    torch.testing.assert_close(ensemble.mean[:, 0], torch.tensor([0.6, 0.3, 0.1]))
    terms = [-sum(p * math.log(p) for p in each) for each in for_first]
    whole = -sum(p * math.log(p) for p in (0.6, 0.3, 0.1))
    by_hand = (whole - sum(terms) / 4) / math.log(3)
    assert float(ensemble.mutual_information[0]) == pytest.approx(by_hand, rel=1e-4)
    assert float(ensemble.mutual_information[1]) == pytest.approx(0, abs=1e-6)
    scores = ensemble.scores()
    assert scores['disagreement'] == 0.125
    assert scores['mutual_information'] == pytest.approx(by_hand / 2, rel=1e-4)


def test_by_a_threshold():
    # The mean of class 1 is 0.35: above 0.3, so the mean says 1, and one of two does.
    ensemble = Ensemble(threshold=0.3)
    for share in (0.5, 0.2):
        ensemble.add(torch.tensor([1 - share, share]))
    assert [int(each) for each in ensemble.predicted] == [1, 0]
    assert int(ensemble.prediction) == 1
    assert float(ensemble.disagreement) == 0.5


def test_entropy_is_a_share():
    assert float(entropy(torch.full((7,), 1 / 7))) == pytest.approx(1)
    assert float(entropy(torch.tensor([0.0, 1.0]))) == 0
