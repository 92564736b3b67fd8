import numpy as np
import pytest

from mmcosub.datasets.digit_scenes import (
    DigitScenesDataset,
    make_scene,
    split_digits,
)


def test_splits_are_disjoint_and_whole():
    parts = split_digits()
    seen = {part: {d.tobytes() for c in parts[part] for d in c} for part in parts}
    # The data hold no digit twice, so a digit in both parts would show.
    assert not seen['training'] & seen['validation']
    assert sum(len(c) for part in parts.values() for c in part) == 1797
    for digit in range(10):
        share = len(parts['validation'][digit])
        whole = share + len(parts['training'][digit])
        assert share / whole == pytest.approx(0.3, abs=0.01)


def test_scene():
    digits = split_digits()['training']
    labels = []
    for seed in range(20):
        image, label = make_scene(digits, 64, np.random.default_rng(seed))
        assert image.shape == (64, 64, 3)
        assert label.shape == (64, 64)
        assert image.dtype == label.dtype == np.uint8
        assert image.std() > 5
        labels.append(label)
    values, counts = np.unique(labels, return_counts=True)
    assert values.tolist() == list(range(11))
    assert 0.05 < 1 - counts[0] / counts.sum() < 0.5  # strokes cover a part


def test_same_seed_same_scene():
    digits = split_digits()['training']
    a, b, other = (
        make_scene(digits, 48, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], other[0])


def test_a_digit_can_be_read_off_its_label():
    # One digit alone: its label is its class, and only that.
    digits = split_digits()['training']
    only = [digits[7]] * 10
    _, label = make_scene(only, 64, np.random.default_rng(0))
    assert len(np.unique(label)) > 1
    assert DigitScenesDataset.METAINFO['classes'][1 + 7] == '7'
    assert len(DigitScenesDataset.METAINFO['palette']) == 11
