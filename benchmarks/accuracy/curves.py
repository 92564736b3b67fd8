"""Validation curves of the study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

Shown = tuple[str, str, tuple[float | None, float | None]]
"""A score, its title, and the least and the largest value to draw."""


def draw(
    groups: Mapping[str, dict[int, dict]], scores: Sequence[Shown], path: Path
) -> None:
    """Validation curves, the mean over seeds.

    Args:
        groups (Mapping[str, dict[int, dict]]): Results by name and seed.
        scores (Sequence[Shown]): What to draw, side by side.
        path (Path): File to write.
    """
    figure, axes = plt.subplots(1, len(scores), figsize=(9, 3.6))
    for axis, (key, title, limits) in zip(axes, scores, strict=True):
        for name, results in groups.items():
            curves = [r['curve'] for r in results.values()]
            steps = [point['iteration'] for point in curves[0]]
            values = np.array([[point[key] for point in curve] for curve in curves])
            axis.plot(steps, values.mean(0), marker='.', label=name)
        axis.set(xlabel='iterations', ylim=limits)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    axes[-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
