#!/usr/bin/env python
"""Train one network plainly and by cosub on digit scenes, and compare the two.

Everything is made here: scenes of scikit-learn's handwritten digits, both trainings of
the same number of iterations, evaluation, a table and a picture. On two CPU cores it
takes some minutes.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mmcosub.stack import import_stack_quietly

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs' / 'digit_scenes'
RUNS = {
    'plain': 'swin-mini_upernet_1xb8-2k_digit-scenes-64x64.py',
    'cosub': 'swin-mini_upernet-cosub_1xb8-2k_digit-scenes-64x64.py',
}
CONSOLE = Console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, default=Path('demo_output'), help='folder for everything'
    )
    parser.add_argument('--iterations', type=int, default=2000)
    parser.add_argument('--scenes', type=int, default=1000, help='training scenes')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def run(name: str, command: list[str], log: Path, iterations: int = 0) -> float:
    """Run a tool with its output in a log file and its progress on the screen.

    Args:
        name (str): What the progress bar says.
        command (list[str]): Arguments after the Python interpreter.
        log (Path): Log file.
        iterations (int): How many the tool will report. Defaults to 0, unknown.

    Returns:
        float: Peak memory of the process in GiB.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    columns = (
        TextColumn('{task.description:<18}'),
        BarColumn(),
        TextColumn('{task.fields[note]}'),
        TimeRemainingColumn(),
    )
    with log.open('w') as file, Progress(*columns, console=CONSOLE) as progress:
        bar = progress.add_task(name, total=iterations or None, note='')
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            found = re.search(r'(?:train|test)\).*?\[ *(\d+)/(\d+)\]', line)
            if found:
                loss = re.search(r' loss: ([\d.]+)', line)
                note = f'loss {loss[1]}' if loss else ''
                progress.update(
                    bar, completed=int(found[1]), total=int(found[2]), note=note
                )
        _, status, usage = os.wait4(process.pid, 0)
        progress.update(bar, completed=iterations or 1, total=iterations or 1)
    if status:
        CONSOLE.print(log.read_text()[-3000:], markup=False)
        sys.exit(f'{name} failed; the whole log is in {log}')
    unit = 1024 if sys.platform == 'darwin' else 1
    return usage.ru_maxrss / unit / 2**20


def train_and_test(args: argparse.Namespace, name: str, data: Path) -> dict:
    """One training and its evaluation.

    Returns:
        dict: mIoU in percent, median step time in seconds and peak memory in GiB.
    """
    work_dir = args.out / name
    config = str(CONFIGS / RUNS[name])
    options = ['--cfg-options'] + [
        f'{loader}_dataloader.dataset.data_root={data}'
        for loader in ('train', 'val', 'test')
    ]
    warmup = max(args.iterations // 20, 1)
    schedule = [
        f'train_cfg.max_iters={args.iterations}',
        f'train_cfg.val_interval={args.iterations}',
        f'default_hooks.checkpoint.interval={args.iterations}',
        f'param_scheduler.0.end={warmup}',
        f'param_scheduler.1.begin={warmup}',
        f'param_scheduler.1.end={args.iterations}',
        f'randomness.seed={args.seed}',
    ]
    train = [str(TOOLS / 'train.py'), config, '--work-dir', str(work_dir)]
    memory = run(
        f'training: {name}',
        train + options + schedule,
        work_dir / 'train.txt',
        args.iterations,
    )
    checkpoint = work_dir / f'iter_{args.iterations}.pth'
    test = [str(TOOLS / 'test.py'), config, str(checkpoint)]
    folders = ['--work-dir', str(work_dir), '--out', str(work_dir / 'predictions')]
    run(f'evaluation: {name}', test + folders + options, work_dir / 'test.txt')

    scalars = max(work_dir.glob('*/vis_data/scalars.json'), key=os.path.getmtime)
    steps = [json.loads(line) for line in scalars.read_text().splitlines()]
    times = [step['time'] for step in steps if 'loss' in step]
    metrics = max(work_dir.glob('*/*.json'), key=os.path.getmtime)
    miou = json.loads(metrics.read_text())['mIoU']
    return dict(miou=miou, step=float(np.median(times)), memory=memory)


def draw(out: Path, data: Path, rows: int = 4) -> Path:
    """Draw image, label and both predictions of scenes spread over the validation set.

    Two scenes a row; none is chosen for how it looks.
    """
    import_stack_quietly()
    from mmcosub.datasets import DigitScenesDataset

    palette = np.array(DigitScenesDataset.METAINFO['palette'], dtype=np.uint8)
    names = sorted(p.name for p in (data / 'images' / 'validation').glob('*.png'))
    tile, gap = 144, 6

    def read(folder: Path, name: str) -> np.ndarray:
        return cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)

    def panel(name: str) -> np.ndarray:
        image = read(data / 'images' / 'validation', name)
        maps = [read(data / 'annotations' / 'validation', name)]
        maps += [read(out / run / 'predictions', name) for run in RUNS]
        shown = [image] + [0.3 * image + 0.7 * palette[m][..., ::-1] for m in maps]
        tiles = [
            cv2.resize(t.astype(np.uint8), (tile,) * 2, interpolation=cv2.INTER_NEAREST)
            for t in shown
        ]
        edge = dict(borderType=cv2.BORDER_CONSTANT, value=(255,) * 3)
        tiles = [cv2.copyMakeBorder(t, 0, gap, 0, gap, **edge) for t in tiles]
        return cv2.copyMakeBorder(np.hstack(tiles), 0, 0, 0, 3 * gap, **edge)

    picked = [names[int(i)] for i in np.linspace(0, len(names) - 1, 2 * rows)]
    grid = [np.hstack([panel(n) for n in picked[r::rows]]) for r in range(rows)]
    head = np.full((30, grid[0].shape[1], 3), 255, np.uint8)
    for i, title in enumerate(('image', 'label', *RUNS) * 2):
        place = (i * (tile + gap) + i // 4 * 3 * gap + 2, 20)
        cv2.putText(
            head, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (60,) * 3, 1, cv2.LINE_AA
        )
    picture = out / 'comparison.png'
    cv2.imwrite(str(picture), np.vstack([head, *grid]))
    return picture


def main() -> None:
    args = parse_args()
    data = args.out / 'digit_scenes'
    converter = str(TOOLS / 'dataset_converters' / 'digit_scenes.py')
    scenes = f'--train {args.scenes} --size 64 --seed {args.seed}'.split()
    CONSOLE.print(
        f'Everything goes to {args.out}/; the same training twice, '
        f'{args.iterations} iterations each.'
    )
    log = args.out / 'digit_scenes.txt'
    run('digit scenes', [converter, '--out', str(data), *scenes], log)
    results = {name: train_and_test(args, name, data) for name in RUNS}

    table = Table('', 'mIoU', 'step time', 'peak memory', title='Digit scenes')
    plain = results['plain']
    for name, result in results.items():
        table.add_row(
            name,
            f'{result["miou"]:.1f}',
            f'{result["step"] / plain["step"]:.2f} x',
            f'{result["memory"]:.2f} GiB',
        )
    CONSOLE.print(table)
    CONSOLE.print(
        'One seed and a short training: an illustration, no evidence. Memory is the '
        "whole process's."
    )
    (args.out / 'results.json').write_text(json.dumps(results, indent=2) + '\n')
    CONSOLE.print(f'Pictures: {draw(args.out, data)}')


if __name__ == '__main__':
    main()
