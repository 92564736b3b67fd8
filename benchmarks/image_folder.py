"""Start and memory of ImageFolder, against mmpretrain's CustomDataset.

    python benchmarks/image_folder.py --files 1300000 \
        --out benchmarks/results/image-folder.json

Every start is in a process of its own, and the file system has its folders in memory.
`peak` is by how much the start raises the process's greatest memory. `all` is by how
much more it holds once all samples' names and labels were read, `own` the part of that
which is not pages of a file, held once for all processes. `sent` is what a spawned
worker gets.
"""

import argparse
import json
import os
import pickle
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmcosub.stack import import_stack_quietly

CASES = {
    'ImageFolder, first': 'ImageFolder',
    'ImageFolder, later': 'ImageFolder',
    'CustomDataset': 'CustomDataset',
}
COLUMNS = ('seconds', 'peak MB', 'all MB', 'own MB', 'sent MB', 'read us')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--files', type=int, default=200000, help='number of images')
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument(
        '--tree', type=Path, help='image folder to use, or to make here and keep'
    )
    parser.add_argument('--rounds', type=int, default=3, help='takes the medians')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    parser.add_argument('--measure', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_tree(tree: Path, files: int, classes: int) -> None:
    """Make empty files, named like ImageNet's."""
    for c in track(range(classes), description='folders'):
        folder = tree / f'n{c:08d}'
        folder.mkdir(parents=True)
        for i in range(c, files, classes):
            os.close(os.open(folder / f'n{c:08d}_{i}.JPEG', os.O_CREAT))


def memory() -> dict[str, float]:
    """Memory of this process in MB."""
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()[1:]
    size = {name: int(value) / 1024 for name, value, *_ in map(str.split, lines)}
    return {
        'peak MB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        'all MB': size['Rss:'],
        'own MB': size['Anonymous:'],
    }


def measure(kind: str, index: str, tree: str) -> dict[str, float]:
    """Start one dataset, in this process, and read all that it knows."""
    import_stack_quietly()
    from mmpretrain.datasets import CustomDataset

    from mmcosub.datasets import ImageFolder

    before, start = memory(), time.perf_counter()
    if kind == 'ImageFolder':
        dataset = ImageFolder(tree, index_file=index)
    else:
        dataset = CustomDataset(tree)
    seconds, peak = time.perf_counter() - start, memory()['peak MB']
    start = time.perf_counter()
    for i in range(len(dataset)):
        dataset.get_data_info(i)
    read = (time.perf_counter() - start) / len(dataset) * 1e6
    after = {**memory(), 'peak MB': peak}
    result = {name: after[name] - before[name] for name in after}
    sent = len(pickle.dumps(dataset)) / 2**20
    return {'seconds': seconds, **result, 'sent MB': sent, 'read us': read}


def compare(tree: Path, rounds: int, index: Path) -> dict[str, dict[str, float]]:
    """Measure all cases in turns; medians, and the range of the starts."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for _ in track(range(rounds), description='rounds'):
        index.unlink(missing_ok=True)
        for name, kind in CASES.items():
            command = [sys.executable, __file__, '--tree', str(tree)]
            command += ['--measure', kind, str(index)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            rows[name].append(json.loads(output.splitlines()[-1]))
    result = {}
    for name, some in rows.items():
        median = {key: statistics.median(row[key] for row in some) for key in some[0]}
        starts = [row['seconds'] for row in some]
        result[name] = {**median, 'least': min(starts), 'most': max(starts)}
    return result


def main() -> None:
    args = parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure, str(args.tree))))
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = args.tree or Path(folder, 'tree')
        if not tree.exists():
            make_tree(tree, args.files, args.classes)
            time.sleep(3)  # folders that have only just changed are not trusted
        result = compare(tree, args.rounds, Path(folder, 'index.npy'))
        files = sum(len(names) for _, _, names in os.walk(tree))
        title = f'{files} files in {len(os.listdir(tree))} folders'
    table = Table('case', *COLUMNS, title=title)
    for name, row in result.items():
        table.add_row(name, *(f'{row[column]:.2f}' for column in COLUMNS))
    Console().print(table)
    if args.out is not None:
        machine = f'{platform.machine()}, {os.cpu_count()} cores'
        record = dict(title=title, machine=machine, result=result)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=2) + '\n')
        Console().print(f'Written to {args.out}')


if __name__ == '__main__':
    main()
