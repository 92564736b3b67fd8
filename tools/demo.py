#!/usr/bin/env python
"""Pretrain by cosub, carry over, co-train a segmentor, and compare with scratch.

The whole way, small: a Swin and a ViT learn to classify scikit-learn's handwritten
digits by cosub; each backbone then starts a UperNet, which learns by cosub to segment
scenes of such digits; the same UperNet is trained from random weights beside it. All
data are made here. On two CPU cores it takes some minutes.
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
CONFIGS = TOOLS.parent / 'configs'
PRETRAIN = 'digits/{}-mini_cosub_1xb32-10e_digits-48x48.py'
SEGMENT = 'digit_scenes/{}-mini_upernet-cosub_1xb8-2k_digit-scenes-64x64.py'
STARTS = ('scratch', 'pretrained')
CONSOLE = Console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, default=Path('demo_output'), help='folder for everything'
    )
    parser.add_argument(
        '--networks', nargs='+', choices=('swin', 'vit'), default=['swin', 'vit']
    )
    parser.add_argument('--epochs', type=int, default=6, help='of pretraining')
    parser.add_argument(
        '--iterations', type=int, default=400, help='of each segmentation training'
    )
    parser.add_argument('--scenes', type=int, default=1000, help='training scenes')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def run(name: str, command: list[str], log: Path, epochs: int = 1) -> None:
    """Run a tool with its output in a log file and its progress on the screen.

    Args:
        name (str): What the progress bar says.
        command (list[str]): Arguments after the Python interpreter.
        log (Path): Log file.
        epochs (int): How many there are, if it runs by epochs. Defaults to 1.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    columns = (
        TextColumn('{task.description:<34}'),
        BarColumn(),
        TextColumn('{task.fields[note]:<11}'),
        TimeRemainingColumn(),
    )
    with log.open('w') as file, Progress(*columns, console=CONSOLE) as progress:
        bar = progress.add_task(name, total=None, note='')
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            done = progress_in(line, epochs)
            if done is not None:
                loss = re.search(r' loss: ([\d.]+)', line)
                note = f'loss {loss[1]}' if loss else ''
                progress.update(bar, completed=done, total=1, note=note)
        status = process.wait()
        progress.update(bar, completed=1, total=1)
    if status:
        CONSOLE.print(log.read_text()[-3000:], markup=False)
        sys.exit(f'{name} failed; the whole log is in {log}')


def progress_in(line: str, epochs: int) -> float | None:
    """Share of a run that is done, from a line of its log; None if it says nothing."""
    found = re.search(r'\((?:train|test)\) +(?:\[(\d+)\])?\[ *(\d+)/(\d+)\]', line)
    if not found:
        return None
    share = int(found[2]) / int(found[3])
    return share if found[1] is None else (int(found[1]) - 1 + share) / epochs


def pretrain(args: argparse.Namespace, network: str, data: Path) -> Path:
    """Pretrain a backbone on digits; the checkpoint."""
    work_dir = args.out / f'{network}-digits'
    options = [
        f'train_dataloader.dataset.data_root={data}',
        f'val_dataloader.dataset.data_root={data}',
        f'train_cfg.max_epochs={args.epochs}',
        f'train_cfg.val_interval={args.epochs}',
        f'default_hooks.checkpoint.interval={args.epochs}',
        f'randomness.seed={args.seed}',
    ]
    command = [str(TOOLS / 'train.py'), str(CONFIGS / PRETRAIN.format(network))]
    command += ['--work-dir', str(work_dir), '--cfg-options', *options]
    name = f'{network}: pretraining on digits'
    run(name, command, work_dir / 'train.txt', args.epochs)
    accuracy = last_value(work_dir, 'accuracy/top1')
    CONSOLE.print(f'  {accuracy:.1f} % of other digits right')
    return work_dir / f'epoch_{args.epochs}.pth'


def segment(
    args: argparse.Namespace, network: str, start: str, data: Path, backbone: Path
) -> float:
    """Train a segmentor and test it; its mIoU in percent."""
    work_dir = args.out / f'{network}-{start}'
    config = str(CONFIGS / SEGMENT.format(network))
    options = ['--cfg-options'] + [
        f'{loader}_dataloader.dataset.data_root={data}'
        for loader in ('train', 'val', 'test')
    ]
    schedule = [
        f'train_cfg.max_iters={args.iterations}',
        f'train_cfg.val_interval={args.iterations}',
        f'default_hooks.checkpoint.interval={args.iterations}',
        f'randomness.seed={args.seed}',
    ]
    train = [str(TOOLS / 'train.py'), config, '--work-dir', str(work_dir)]
    if start == 'pretrained':
        train += ['--backbone', str(backbone)]
    name = f'{network}: segmentation, {start}'
    run(name, train + options + schedule, work_dir / 'train.txt')
    if start == 'pretrained':
        log = (work_dir / 'train.txt').read_text()
        report = re.search(r'Backbone from .*(?:\n  .*)*', log)
        assert report is not None
        CONSOLE.print('  ' + report[0].replace('\n', '\n  '), highlight=False)
    checkpoint = work_dir / f'iter_{args.iterations}.pth'
    test = [str(TOOLS / 'test.py'), config, str(checkpoint)]
    folders = ['--work-dir', str(work_dir), '--out', str(work_dir / 'predictions')]
    run(f'{network}: evaluation', test + folders + options, work_dir / 'test.txt')
    return last_value(work_dir, 'mIoU')


def last_value(work_dir: Path, metric: str) -> float:
    """The last value of a metric that was logged in a work directory."""
    for log in sorted(work_dir.glob('*/**/*.json'), key=os.path.getmtime, reverse=True):
        for line in reversed(log.read_text().splitlines()):
            values = json.loads(line)
            if metric in values:
                return float(values[metric])
    raise ValueError(f'There is no {metric} in {work_dir}.')


def draw(out: Path, data: Path, networks: list[str], rows: int = 6) -> Path:
    """Draw image, label and predictions of scenes spread over the validation set.

    None is chosen for how it looks.
    """
    import_stack_quietly()
    from mmcosub.datasets import DigitScenesDataset

    palette = np.array(DigitScenesDataset.METAINFO['palette'], dtype=np.uint8)
    names = sorted(p.name for p in (data / 'images' / 'validation').glob('*.png'))
    runs = [f'{network}-{start}' for network in networks for start in STARTS]
    tile, gap = 144, 6
    edge = dict(borderType=cv2.BORDER_CONSTANT, value=(255,) * 3)

    def read(folder: Path, name: str) -> np.ndarray:
        return cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)

    def row(name: str) -> np.ndarray:
        image = read(data / 'images' / 'validation', name)
        maps = [read(data / 'annotations' / 'validation', name)]
        maps += [read(out / run / 'predictions', name) for run in runs]
        shown = [image] + [0.3 * image + 0.7 * palette[m][..., ::-1] for m in maps]
        tiles = [
            cv2.resize(t.astype(np.uint8), (tile,) * 2, interpolation=cv2.INTER_NEAREST)
            for t in shown
        ]
        return np.hstack([cv2.copyMakeBorder(t, 0, gap, 0, gap, **edge) for t in tiles])

    picked = [names[int(i)] for i in np.linspace(0, len(names) - 1, rows)]
    grid = [row(name) for name in picked]
    head = np.full((30, grid[0].shape[1], 3), 255, np.uint8)
    for i, title in enumerate(('image', 'label', *runs)):
        place, font = (i * (tile + gap) + 2, 20), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(head, title, place, font, 0.5, (60,) * 3, 1, cv2.LINE_AA)
    picture = out / 'comparison.png'
    cv2.imwrite(str(picture), np.vstack([head, *grid]))
    return picture


def main() -> None:
    args = parse_args()
    digits, scenes = args.out / 'digits', args.out / 'digit_scenes'
    converters = TOOLS / 'dataset_converters'
    CONSOLE.print(f'Everything goes to {args.out}/.')
    seed = ['--seed', str(args.seed)]
    made = [str(converters / 'digits.py'), '--out', str(digits), '--size', '48', *seed]
    run('digits', [*made, '--copies', '3'], args.out / 'digits.txt')
    made = [str(converters / 'digit_scenes.py'), '--out', str(scenes), *seed]
    made += ['--train', str(args.scenes), '--size', '64']
    run('digit scenes', made, args.out / 'digit_scenes.txt')

    results: dict[str, dict[str, float]] = {}
    for network in args.networks:
        checkpoint = pretrain(args, network, digits)
        results[network] = {
            start: segment(args, network, start, scenes, checkpoint) for start in STARTS
        }
    title = f'mIoU on digit scenes, {args.iterations} iterations of cosub'
    table = Table('', 'from scratch', 'pretrained by cosub', title=title)
    for network, miou in results.items():
        table.add_row(network, *(f'{miou[start]:.1f}' for start in STARTS))
    CONSOLE.print(table)
    CONSOLE.print('One seed and a short training: an illustration, no evidence.')
    (args.out / 'results.json').write_text(json.dumps(results, indent=2) + '\n')
    CONSOLE.print(f'Pictures: {draw(args.out, scenes, args.networks)}')


if __name__ == '__main__':
    main()
