"""Scenes and split of the accuracy study's data."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fashion_files import write_fashion

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks' / 'accuracy'))
import fashion
from fashion_scenes import Layout, make_scene, silhouette
from scenes import SceneData

SQUARE = np.zeros((28, 28), np.uint8)
SQUARE[4:24, 4:24] = 200
ARTICLES = [SQUARE[None]] * 10


def scene(seed: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    return make_scene(ARTICLES, 64, np.random.default_rng(seed), layout, (2, 5), 220)


def areas(layout: Layout) -> np.ndarray:
    """Labelled pixels of some scenes, in articles that nothing covers."""
    pixels = (64 * layout.scale[0] * 20 / 28) ** 2
    return np.array([(scene(i, layout)[1] > 0).sum() for i in range(20)]) / pixels


def test_articles_do_not_overlap_unless_they_may() -> None:
    layout = dict(items=(3, 3), scale=(0.3, 0.3), angle=0)
    apart, free = (areas(Layout(**layout, overlap=o)) for o in (0.0, 1.0))
    assert apart == pytest.approx(3, rel=0.1)
    assert free.max() < 3.3
    assert free.min() < 2.5


def test_scene() -> None:
    image, label = scene(3, Layout(items=(1, 1), scale=(0.5, 0.5), angle=30))
    assert image.shape == (64, 64, 3)
    assert image.dtype == label.dtype == np.uint8
    values, counts = np.unique(label, return_counts=True)
    assert len(values) == 2
    # A square of 20 of the photograph's 28 pixels, and the photograph 32 pixels high.
    assert counts[1] == pytest.approx((32 * 20 / 28) ** 2, rel=0.1)


def test_same_seed_same_scene() -> None:
    layout = Layout(items=(2, 5), scale=(0.25, 0.6), angle=30, overlap=0.4)
    a, b, other = (scene(seed, layout) for seed in (1, 1, 2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], other[0])


def test_silhouette_has_no_holes() -> None:
    ring = SQUARE.copy()
    ring[10:18, 10:18] = 0
    assert np.array_equal(silhouette(ring), SQUARE > 0)


def test_parts_have_no_article_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation are the last two of each class, and no other."""
    monkeypatch.setattr(fashion, 'VALIDATION', 2)
    source = write_fashion(tmp_path / 'source')
    parts = fashion.load(source)
    assert {part: len(of.labels) for part, of in parts.items()} == dict(
        training=40, validation=20, test=20
    )
    expected = dict(training=[20, 22, 24, 26], validation=[28, 30], test=[200, 202])
    articles = SceneData(source).articles
    for part, values in expected.items():
        for of_class in articles[part]:
            assert of_class[:, 14, 14].tolist() == values
