import itertools

import numpy as np
import pytest

from mmcosub.datasets.synthetic.fashion_scenes import make_scene, silhouette
from mmcosub.datasets.synthetic.scenes import Layout, compose, warp

SQUARE = np.zeros((28, 28), np.uint8)
SQUARE[4:24, 4:24] = 200


def masks(layout, seeds=20, size=64):
    """How many items lie over each pixel, and the label map, scene by scene."""
    ones = np.ones((8, 8))

    def pick():
        def draw(image, matrix):
            mask = warp(ones, matrix, size) > 0.5
            return image + mask[..., None], mask, next(numbers)

        return ones.shape, draw

    for seed in range(seeds):
        numbers = itertools.cycle(range(1, 256))
        ground, rng = np.zeros((size, size, 3)), np.random.default_rng(seed)
        image, label = compose(ground, layout, rng, pick)
        yield image[..., 0], label


def test_items_do_not_overlap_unless_they_may():
    apart = Layout(items=(4, 6), scale=(0.3, 0.4), angle=30, overlap=0.0)
    free = Layout(items=(4, 6), scale=(0.3, 0.4), angle=30)
    assert max(counts.max() for counts, _ in masks(apart)) == 1
    assert max(counts.max() for counts, _ in masks(free)) > 1


def test_label_is_where_items_are():
    for counts, label in masks(Layout(items=(1, 3), scale=(0.3, 0.6), angle=45)):
        assert ((label > 0) == (counts > 0)).all()


def test_scale_and_number():
    layout = Layout(items=(2, 2), scale=(0.25, 0.25), angle=0, overlap=0.0)
    for _, label in masks(layout):
        values, areas = np.unique(label[label > 0], return_counts=True)
        assert len(values) == 2
        # 16 pixels high and wide, less what the threshold takes at an edge.
        assert np.all(np.abs(areas - 16**2) <= 2 * 16)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(items=(0, 2)), '--items must be two numbers of at least 1'),
        (dict(items=(3, 2)), r'not \[3, 2\]'),
        (dict(scale=(0.5, 1.2)), '--scale must be two shares'),
        (dict(overlap=1.5), r'--overlap must be in \[0, 1\], not 1.5'),
        (dict(angle=-1), '--angle'),
    ],
)
def test_bad_layout(change, message):
    good = dict(items=(1, 2), scale=(0.2, 0.5), angle=10, overlap=0.5)
    with pytest.raises(ValueError, match=message):
        Layout(**{**good, **change})


def test_size_too_small_for_a_scene():
    layout = Layout(items=(1, 2), scale=(0.2, 0.5), angle=10)
    with pytest.raises(
        ValueError, match=r'would be 13 pixels high.* --size 80 or more'
    ):
        layout.check_size(64, 16)
    layout.check_size(80, 16)


def test_silhouette_has_no_holes():
    ring = SQUARE.copy()
    ring[10:18, 10:18] = 0
    assert np.array_equal(silhouette(ring), SQUARE > 0)


def test_fashion_scene():
    # Articles of one class are so bright that they show, and lie where the label says.
    layout = Layout(items=(1, 1), scale=(0.5, 0.5), angle=0)
    image, label = make_scene(
        [SQUARE] * 10 and [SQUARE[None]] * 10, 64, np.random.default_rng(3), layout
    )
    assert image.shape == (64, 64, 3)
    assert image.dtype == label.dtype == np.uint8
    values, counts = np.unique(label, return_counts=True)
    assert len(values) == 2
    # A square of 20 of the photograph's 28 pixels, and the photograph 32 pixels high.
    assert counts[1] == pytest.approx((32 * 20 / 28) ** 2, rel=0.1)


def test_same_seed_same_scene():
    a, b, other = (
        make_scene([SQUARE[None]] * 10, 64, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], other[0])
