#!/usr/bin/env python
"""Write the tables and the plot of docs/submodels.md from the records of the tools.

python docs/submodels.py
"""

import json
import re
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / 'benchmarks' / 'results'
PAGE = ROOT / 'docs' / 'submodels.md'
SWEEPS = {
    'scenes': 'digit-scenes',
    'digits': 'digits',
    'digits at 0.4': 'digits-rate-0.4',
}


def read(name: str) -> dict:
    return json.loads((RESULTS / f'submodels-{name}.json').read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def curves(record: dict) -> dict[str, dict[int, dict]]:
    """The submodel of each number of blocks that a search found, by network."""
    found: dict[str, dict[int, dict]] = {name: {} for name in record['checkpoints']}
    for point in record['points']:
        if point['order'] == 'greedy':
            found[point['network']][len(point['kept'])] = point
    return found


def sweep_table(record: dict) -> str:
    """The metric by number of blocks."""
    metric, found = record['metric'], curves(record)
    sizes = range(len(record['blocks']), 0, -1)
    rows = [
        [name, *(f'{points[size]["metrics"][metric]:.1f}' for size in sizes)]
        for name, points in found.items()
    ]
    return table([f'{metric}, % at blocks', *map(str, sizes)], rows)


def plot(record: dict, path: Path) -> None:
    """Draw the metric by number of blocks and by operations."""
    figure = Figure(figsize=(8.4, 3.6), dpi=110, layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    for name, points in curves(record).items():
        metrics = [point['metrics'][record['metric']] for point in points.values()]
        flops = [point['cost']['flops'] / 1e9 for point in points.values()]
        left.plot([*points], metrics, '-o', label=name, markersize=3.5)
        right.plot(flops, metrics, '-o', label=name, markersize=3.5)
    left.set(xlabel='blocks', ylabel=record['metric'])
    right.set(xlabel='GFLOP per image, whole network')
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(path)


def page() -> str:
    """The page with its tables as the records have them."""
    text = PAGE.read_text()
    tables = {title: sweep_table(read(name)) for title, name in SWEEPS.items()}
    for name, content in tables.items():
        mark = f'<!-- {name} -->'
        pattern = f'{re.escape(mark)}.*?{re.escape("<!-- -->")}'
        new = f'{mark}\n\n{content}\n\n<!-- -->'
        text = re.sub(pattern, lambda _, new=new: new, text, flags=re.DOTALL)
    return text


if __name__ == '__main__':
    PAGE.write_text(page())
    plot(read('digit-scenes'), PAGE.with_suffix('.png'))
