"""Plot of a sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

_AXES = {
    'blocks': ('blocks', 1.0),
    'flops': ('GFLOP per image, whole network', 1e-9),
    'time_ratio': ("time per image, of the whole network's", 1.0),
}
_STYLES = {'greedy': '-o', 'random': '--', 'given': ':s'}


def plot_sweep(record: Mapping[str, Any], path: Path) -> None:
    """Plot submodels' metrics by number of blocks, FLOPs and time.

    Args:
        record (Mapping): The record of a sweep.
        path (Path): The file; its suffix sets the format.
    """
    points = record['points']
    axes = [a for a in _AXES if a == 'blocks' or a in points[0]['cost']]
    networks = list(dict.fromkeys(p['network'] for p in points))
    figure = Figure(figsize=(4.2 * len(axes), 3.6), dpi=110, layout='constrained')
    for axis, name in zip(np.ravel(figure.subplots(1, len(axes))), axes, strict=True):
        for i, network in enumerate(networks):
            for order, style in _STYLES.items():
                mine = [
                    p for p in points if (p['network'], p['order']) == (network, order)
                ]
                if mine:
                    label = network if order == 'greedy' else f'{network}, {order}'
                    curve = _Curve(mine, name, record['metric'])
                    curve.draw(axis, style, f'C{i}', label)
        axis.set_xlabel(_AXES[name][0])
        axis.set_ylabel(record['metric'])
        axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


class _Curve:
    """Metric over one of the costs, by number of blocks.

    Args:
        points (list[dict]): Submodels of one network and order.
        axis (str): The cost.
        metric (str): The metric.
    """

    def __init__(self, points: list[dict], axis: str, metric: str) -> None:
        scale = _AXES[axis][1]
        by_size: dict[int, list[tuple[float, float]]] = {}
        for p in points:
            x = len(p['kept']) if axis == 'blocks' else scale * p['cost'][axis]
            by_size.setdefault(len(p['kept']), []).append((x, p['metrics'][metric]))
        of_sizes = [np.array(by_size[size]) for size in sorted(by_size)]
        self.x = np.array([np.median(a[:, 0]) for a in of_sizes])
        ends = [np.percentile(a[:, 1], [0, 50, 100]) for a in of_sizes]
        self.low, self.y, self.high = np.array(ends).T

    def draw(self, axis: Any, style: str, colour: str, label: str) -> None:
        axis.plot(
            self.x, self.y, style, color=colour, label=label, markersize=3.5, lw=1.4
        )
        if (self.low < self.high).any():
            axis.fill_between(
                self.x, self.low, self.high, color=colour, alpha=0.15, lw=0
            )
