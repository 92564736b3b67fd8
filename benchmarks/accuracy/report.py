#!/usr/bin/env python
"""Tables and plot of the accuracy study: mean over seeds and its 95 % interval.

python benchmarks/accuracy/report.py    # of the records that are committed
python benchmarks/accuracy/report.py --runs benchmarks/results/accuracy --collect .
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

from configs import ABLATIONS, METHODS, TASKS

RESULTS = Path(__file__).resolve().parents[1] / 'results'
RECORDS = [
    *(RESULTS / f'accuracy-{task}.json' for task in TASKS),
    RESULTS / 'accuracy-ablation.json',
]


def interval(scores: list[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % confidence interval, by Student's t."""
    mean = float(np.mean(scores))
    if len(scores) < 2:
        return mean, float('nan')
    error = np.std(scores, ddof=1) / np.sqrt(len(scores))
    return mean, float(stats.t.ppf(0.975, len(scores) - 1) * error)


def load(paths: list[Path]) -> list[dict]:
    """Runs in folders, or in files of many."""
    runs: list[dict] = []
    for path in paths:
        if path.is_dir():
            runs += [json.loads(file.read_text()) for file in path.glob('*.json')]
        elif path.is_file():
            runs += json.loads(path.read_text())
    order = ['task', 'network', 'method', 'budget', 'seed']
    return sorted(runs, key=lambda run: [run[key] for key in order])


def grouped(runs: list[dict]) -> dict[tuple, list[dict]]:
    """Runs by task, network, method and budget."""
    groups = defaultdict(list)
    for run in runs:
        key = (run['task'], run['network'], run['method'], run['budget'])
        groups[key].append(run)
    # Plain training is the reference of both budgets.
    for (task, network, method, budget), some in list(groups.items()):
        if method == 'plain' and budget == 'iterations':
            groups[task, network, method, 'compute'] = some
    return groups


def gain(groups: dict, key: tuple, over: str = 'plain') -> tuple[float, float]:
    """Mean gain over a method with the same seeds, and its half width."""
    task, network, _, budget = key
    scores = {
        r['seed']: r['score'] for r in groups.get((task, network, over, budget), [])
    }
    paired = [
        r['score'] - scores[r['seed']] for r in groups[key] if r['seed'] in scores
    ]
    return interval(paired) if paired else (float('nan'),) * 2


def table(groups: dict, task: str, methods: list[str], over: str = 'plain') -> str:
    """Markdown table of some methods on a task, with their gains over one."""
    keys = [key for key in groups if key[0] == task and key[2] in methods]
    # Settings have runs of the same iterations only.
    budgets = [
        budget
        for budget in ('iterations', 'compute')
        if budget == 'iterations' or not set(methods) & set(ABLATIONS)
    ]
    columns = [(n, b) for n in sorted({key[1] for key in keys}) for b in budgets]
    heads = [f'{network}, same {budget}' for network, budget in columns]
    lines = ['| method | ' + ' | '.join(heads) + ' |']
    lines.append('| --- |' + ' --- |' * len(columns))
    for method in methods:
        cells = [method]
        for network, budget in columns:
            key = (task, network, method, budget)
            if key not in groups:
                cells.append('')
                continue
            mean, half = interval([run['score'] for run in groups[key]])
            cell = f'{mean:.1f} ± {half:.1f}'
            more, width = gain(groups, key, over)
            if method != over and not np.isnan(width):
                mark = '**' if abs(more) > width else ''
                cell += f' ({mark}{more:+.1f} ± {width:.1f}{mark})'
            cells.append(cell)
        if any(cells[1:]):
            lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def plot(groups: dict, path: Path) -> None:
    """Gains over plain training with their intervals."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    panels = [(t, n) for t in TASKS for n in TASKS[t].networks]
    panels = [panel for panel in panels if any(key[:2] == panel for key in groups)]
    methods = [method for method in METHODS if method != 'plain'][::-1]
    figure, axes = plt.subplots(
        -(-len(panels) // 2), 2, figsize=(9.5, 1.9 * len(panels)), sharey=True
    )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (task, network) in zip(axes.flat, panels, strict=False):
        for shift, budget in ((0.12, 'iterations'), (-0.12, 'compute')):
            points = [
                (i + shift, *gain(groups, key))
                for i, method in enumerate(methods)
                if (key := (task, network, method, budget)) in groups
            ]
            if points:
                y, mean, half = np.array(points).T
                label = f'same {budget}'
                axis.errorbar(mean, y, xerr=half, fmt='o', ms=4, label=label)
        axis.axvline(0, color='grey', lw=1)
        axis.set_title(f'{network}: {TASKS[task].title}', fontsize=10)
        axis.set_xlabel('points over plain training')
        axis.set_yticks(range(len(methods)), methods)
    axes.flat[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def collect(runs: list[dict], starts: list[dict], folder: Path) -> None:
    """Write runs into a file a task, one of the ablation and one of the starts."""
    files = defaultdict(list)
    for run in runs:
        files['ablation' if run['method'] in ABLATIONS else run['task']].append(run)
    if starts:
        files['starts'] = starts
    for name, some in files.items():
        path = folder / f'accuracy-{name}.json'
        path.write_text(json.dumps(some, indent=1) + '\n')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--runs',
        type=Path,
        nargs='+',
        default=RECORDS,
        help='folders that study.py wrote, or files with lists of runs',
    )
    parser.add_argument(
        '--collect', type=Path, metavar='FOLDER', help='write one file a task there'
    )
    parser.add_argument(
        '--over', default='plain', help='method over which gains are given in tables'
    )
    parser.add_argument('--plot', type=Path, help='file to draw')
    args = parser.parse_args()
    runs = load(args.runs)
    if args.collect:
        starts = [
            json.loads(file.read_text())
            for path in args.runs
            for file in sorted(path.glob('starts/*.json'))
        ]
        collect(runs, starts, args.collect)
    groups = grouped(runs)
    for task in TASKS:
        some = {key[2] for key in groups if key[0] == task}
        if some & set(METHODS):
            print(f'### {TASKS[task].title}\n')
            print(table(groups, task, [*METHODS], args.over))
        if some & set(ABLATIONS):
            methods = ['plain', 'cosub', *ABLATIONS]
            print(f'### Settings of cosub: {TASKS[task].title}\n')
            print(table(groups, task, methods, args.over))
    if args.plot:
        plot(groups, args.plot)


if __name__ == '__main__':
    main()
