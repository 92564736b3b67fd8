#!/usr/bin/env python
"""Write the tables and the plot of docs/submodels.md from the records of the tools.

python docs/submodels.py
"""

import json
import re
from pathlib import Path
from statistics import median

from mmcosub.analysis.sweep_record import plot_sweep

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / 'benchmarks' / 'results'
PAGE = ROOT / 'docs' / 'submodels.md'
SWEEPS = {
    'scenes': 'digit-scenes',
    'digits': 'digits',
    'digits at 0.4': 'digits-rate-0.4',
}
ENSEMBLES = {
    'scenes, plain': 'scenes-plain',
    'scenes, cosub': 'scenes-cosub',
    'digits, plain': 'digits-plain',
    'digits, cosub': 'digits-cosub',
    'digits, plain, 0.4': 'digits-plain-rate-0.4',
    'digits, cosub, 0.4': 'digits-cosub-rate-0.4',
}
SCORES = ('entropy', 'mutual_information', 'disagreement', 'entropy_of_full')


def read(name: str) -> dict:
    return json.loads((RESULTS / f'submodels-{name}.json').read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def sweep_table(record: dict) -> str:
    """The metric by number of blocks; medians where there are several submodels."""
    rows = []
    sizes = sorted({len(p['kept']) for p in record['points']}, reverse=True)
    for order in ('greedy', 'random'):
        for network in record['checkpoints']:
            cells = [f'{network}, {order}']
            for size in sizes:
                found = [
                    p['metrics'][record['metric']]
                    for p in record['points']
                    if (p['network'], p['order']) == (network, order)
                    and len(p['kept']) == size
                ]
                cells.append(f'{median(found):.1f}')
            rows.append(cells)
    return table([f'{record["metric"]}, % at blocks', *map(str, sizes)], rows)


def quality_table() -> str:
    """The full network and the mean of its submodels."""
    rows = []
    for title, name in ENSEMBLES.items():
        quality = read(f'ensemble-{name}')['quality']
        for which in ('full', 'mean', 'one_submodel'):
            of = quality[which]
            miou = f'{of["mIoU"]:.2f}' if 'mIoU' in of else ''
            cells = [f'{title}: {which.replace("_", " ")}', f'{of["accuracy"]:.2f}']
            rows.append([*cells, miou, f'{of["nll"]:.3f}', f'{of["ece"]:.2f}'])
    head = ['network', 'accuracy, %', 'mIoU, %', 'NLL', 'calibration error, %']
    return table(head, rows)


def ranking_table() -> str:
    """What is wrong in the fifth of the images that is ranked first."""
    rows = []
    for title, name in ENSEMBLES.items():
        found = read(f'ensemble-{name}')['quality']['finds_errors']
        cells = [title, f'{found["entropy"]["wrong"]:.1f}']
        cells += [f'{found[score]["wrong_in_first_fifth"]:.1f}' for score in SCORES]
        rows.append(cells)
    head = ['error, %', 'all images', 'entropy of the mean', 'mutual information']
    return table([*head, 'disagreement', "full network's entropy"], rows)


def page() -> str:
    """The page with its tables as the records have them."""
    text = PAGE.read_text()
    tables = {title: sweep_table(read(name)) for title, name in SWEEPS.items()}
    tables.update(quality=quality_table(), ranking=ranking_table())
    for name, content in tables.items():
        mark = f'<!-- {name} -->'
        pattern = f'{re.escape(mark)}.*?{re.escape("<!-- -->")}'
        new = f'{mark}\n\n{content}\n\n<!-- -->'
        text = re.sub(pattern, lambda _, new=new: new, text, flags=re.DOTALL)
    return text


if __name__ == '__main__':
    PAGE.write_text(page())
    plot_sweep(read('digit-scenes'), PAGE.with_suffix('.png'))
