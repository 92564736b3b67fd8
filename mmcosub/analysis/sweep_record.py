"""Records of sweeps: made, written, read, plotted, and searched for a submodel."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from .network import Network
from .sweep import Point

_AXES = {
    'blocks': ('blocks', 1.0),
    'flops': ('GFLOP per image, whole network', 1e-9),
    'time_ratio': ("time per image, of the whole network's", 1.0),
}
_STYLES = {'greedy': '-o', 'random': '--', 'given': ':s'}


def record_of(
    points: Sequence[Point], network: Network, metric: str, about: Mapping[str, Any]
) -> dict:
    """Return a sweep's record, with further entries ``about`` it."""
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else platform.machine()
    return dict(
        title='Submodels by their number of blocks',
        **about,
        metric=metric,
        shape=list(network.image.shape),
        machine=f'{device}, {torch.get_num_threads()} threads',
        torch=torch.__version__,
        blocks=network.blocks,
        fixed=sorted(network.fixed),
        points=[asdict(point) for point in points],
    )


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n')


def read_json(path: Path) -> dict:
    """Read the record of a sweep; ValueError if the file is not one."""
    if not path.is_file():
        raise ValueError(f'There is no record {path}. submodel_sweep.py writes one.')
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is no JSON file ({error}).') from error
    if not isinstance(content, dict) or not content.get('points'):
        raise ValueError(f'{path} is no record of submodel_sweep.py: it has no points.')
    return content


def pick_point(
    record: Mapping[str, Any], depth: int, network: str | None, order: str | None
) -> dict:
    """Return the best submodel of a depth, by default of the only network, greedy."""
    points = record['points']
    networks = sorted({p['network'] for p in points})
    if network is None and len(networks) > 1:
        raise ValueError(f'The record has several networks: name one of {networks}.')
    network = networks[0] if network is None else network
    if network not in networks:
        raise ValueError(f'The record has no network {network!r} but {networks}.')
    orders = sorted({p['order'] for p in points if p['network'] == network})
    if order is None:
        order = 'greedy' if 'greedy' in orders else orders[0]
    if order not in orders:
        raise ValueError(f'The record has no order {order!r} but {orders}.')
    mine = [p for p in points if (p['network'], p['order']) == (network, order)]
    if found := [p for p in mine if len(p['kept']) == depth]:
        return max(found, key=lambda p: p['metrics'][record['metric']])
    raise ValueError(
        f'The record has no submodel of {depth} blocks in the order {order!r}: there '
        f'are those of {sorted({len(p["kept"]) for p in mine})}.'
    )


def plot_sweep(record: Mapping[str, Any], path: Path) -> None:
    """Plot submodels' metrics by blocks, FLOPs and time; the suffix sets the format."""
    curves: dict[tuple[str, str], list[dict]] = {}
    for p in record['points']:
        curves.setdefault((p['network'], p['order']), []).append(p)
    networks = list(dict.fromkeys(network for network, _ in curves))
    costs = record['points'][0]['cost']
    names = [name for name in _AXES if name == 'blocks' or name in costs]
    figure = Figure(figsize=(4.2 * len(names), 3.6), dpi=110, layout='constrained')
    for axis, name in zip(np.ravel(figure.subplots(1, len(names))), names, strict=True):
        for (network, order), points in curves.items():
            colour = f'C{networks.index(network)}'
            label = network if order == 'greedy' else f'{network}, {order}'
            x, low, middle, high = _curve(points, name, record['metric'])
            style = dict(color=colour, label=label, markersize=3.5, lw=1.4)
            axis.plot(x, middle, _STYLES[order], **style)
            if (low < high).any():
                axis.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        axis.set_xlabel(_AXES[name][0])
        axis.set_ylabel(record['metric'])
        axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _curve(points: Sequence[dict], axis: str, metric: str) -> Any:
    """Return the median cost, and lowest, median and highest metric, of each size."""
    scale, rows = _AXES[axis][1], []
    for size in sorted({len(p['kept']) for p in points}):
        of_size = [p for p in points if len(p['kept']) == size]
        costs = [scale * p['cost'].get(axis, size) for p in of_size]
        metrics = [p['metrics'][metric] for p in of_size]
        rows.append([np.median(costs), *np.percentile(metrics, [0, 50, 100])])
    return np.array(rows).T
