#!/usr/bin/env python
"""Table and plot of the accuracy study: mean over seeds and its 95 % interval.

python benchmarks/accuracy/report.py --out benchmarks/results/accuracy
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

TITLES = dict(digits='top-1 on digits, %', scenes='mIoU on digit scenes, %')


def interval(scores: list[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % confidence interval, by Student's t."""
    mean = float(np.mean(scores))
    if len(scores) < 2:
        return mean, float('nan')
    error = np.std(scores, ddof=1) / np.sqrt(len(scores))
    return mean, float(stats.t.ppf(0.975, len(scores) - 1) * error)


def load(path: Path) -> dict[tuple, list[dict]]:
    """Runs by task, network, method and budget, of a folder or a file of them all."""
    if path.is_dir():
        runs = [json.loads(file.read_text()) for file in sorted(path.glob('*.json'))]
    else:
        runs = json.loads(path.read_text())
    groups = defaultdict(list)
    for run in runs:
        key = (run['task'], run['network'], run['method'], run['budget'])
        groups[key].append(run)
    # Plain training is the reference of both budgets.
    for (task, network, method, budget), runs in list(groups.items()):
        if method == 'plain' and budget == 'iterations':
            groups[task, network, method, 'compute'] = runs
    return groups


def gain(groups: dict, key: tuple) -> tuple[float, float]:
    """Mean gain over plain training of the same seeds, and its half width."""
    task, network, _, budget = key
    plain = {r['seed']: r['score'] for r in groups[task, network, 'plain', budget]}
    paired = [r['score'] - plain[r['seed']] for r in groups[key] if r['seed'] in plain]
    return interval(paired)


def table(groups: dict) -> str:
    """Markdown tables, one a task."""
    lines = []
    for task in sorted({key[0] for key in groups}):
        keys = [key for key in groups if key[0] == task]
        columns = sorted(
            {(key[1], key[3]) for key in keys}, key=lambda c: (c[0], -ord(c[1][0]))
        )
        methods = list(dict.fromkeys(key[2] for key in keys))
        methods.sort(key=lambda m: (m != 'plain', m))
        lines += [f'### {TITLES[task]}', '']
        heads = [f'{network}, same {budget}' for network, budget in columns]
        lines.append('| method | ' + ' | '.join(heads) + ' |')
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
                if method != 'plain':
                    more, width = gain(groups, key)
                    mark = '**' if abs(more) > width else ''
                    cell += f' ({mark}{more:+.1f} ± {width:.1f}{mark})'
                cells.append(cell)
            lines.append('| ' + ' | '.join(cells) + ' |')
        lines.append('')
    return '\n'.join(lines)


def plot(groups: dict, path: Path) -> None:
    """Gains over plain training with their intervals."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    panels = sorted({(key[0], key[1]) for key in groups})
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4 * len(panels) + 1.5, 4), sharey=True, squeeze=False
    )
    methods = sorted({key[2] for key in groups} - {'plain'}, reverse=True)
    for axis, (task, network) in zip(axes[0], panels, strict=True):
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
        axis.set_title(f'{network}, {task}')
        axis.set_xlabel('points over plain training')
        axis.set_yticks(range(len(methods)), methods)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--runs',
        type=Path,
        default=Path('benchmarks/results/accuracy'),
        help='folder that study.py wrote, or a file with a list of its runs',
    )
    parser.add_argument('--collect', type=Path, help='write the runs into one file')
    parser.add_argument('--plot', type=Path, default=Path('docs/accuracy.png'))
    args = parser.parse_args()
    groups = load(args.runs)
    if args.collect:
        runs = [run for key, some in groups.items() if some[0]['budget'] == key[3]
                for run in some]  # fmt: skip
        args.collect.write_text(json.dumps(runs, indent=1) + '\n')
    print(table(groups))
    plot(groups, args.plot)


if __name__ == '__main__':
    main()
