#!/usr/bin/env python
"""Pretrain with cosub, fine-tune a segmentor, and compare with random weights.

A Swin is pretrained with cosub on scikit-learn's handwritten digits. Its backbone
starts a UperNet, which is trained with cosub to segment synthetic scenes of such
digits; the same UperNet is also trained from random weights. Takes some minutes on two
CPU cores.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mmcosub.stack import import_stack_quietly

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs'
PRETRAIN = 'digits/{}-mini_cosub_1xb32-10e_digits-32x32.py'
SEGMENT = 'digit_scenes/{}-mini_upernet-cosub_1xb32-2k_digit-scenes-32x32.py'
STARTS = ('scratch', 'pretrained')
POINTS = 5  # of the learning curves
CONSOLE = Console()
PROGRESS = Progress(
    TextColumn('{task.description:<34}'),
    BarColumn(),
    TextColumn('{task.fields[note]:<11}'),
    TimeElapsedColumn(),
    console=CONSOLE,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, default=Path('demo_output'), help='folder for everything'
    )
    parser.add_argument(
        '--networks', nargs='+', choices=('swin', 'vit'), default=['swin']
    )
    parser.add_argument('--epochs', type=int, default=3, help='epochs of pretraining')
    parser.add_argument(
        '--iterations',
        type=int,
        default=500,
        help='iterations of each segmentation training',
    )
    parser.add_argument('--scenes', type=int, default=3000, help='training scenes')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def run(name: str, command: list[str], log: Path, epochs: int = 1) -> None:
    """Run a tool with its output in a log file and its progress on the screen.

    It gets one thread: two tools run at a time.

    Args:
        name (str): What the progress bar says.
        command (list[str]): Arguments after the Python interpreter.
        log (Path): Log file.
        epochs (int): How many there are, if it runs by epochs. Defaults to 1.

    Raises:
        RuntimeError: If the tool fails, with the end of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    bar = PROGRESS.add_task(name, total=None, note='')
    with (
        log.open('w') as file,
        subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            done = progress_in(line, epochs)
            if done is not None:
                loss = re.search(r' loss: ([\d.]+)', line)
                note = dict(note=f'loss {loss[1]}') if loss else {}
                PROGRESS.update(bar, completed=done, total=1, **note)
        status = process.wait()
    PROGRESS.update(bar, completed=1, total=1)
    PROGRESS.stop_task(bar)
    if status:
        end = log.read_text()[-3000:]
        raise RuntimeError(f'{end}\n{name} failed; the full log is in {log}')


def progress_in(line: str, epochs: int) -> float | None:
    """Return the fraction of a run that is done, from a line of its log, or None."""
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
    accuracy = curve(work_dir, 'accuracy/top1')[-1][1]
    CONSOLE.print(f'  {network}: {accuracy:.1f} % of other digits right')
    return work_dir / f'epoch_{args.epochs}.pth'


def segment(
    args: argparse.Namespace, network: str, data: Path, backbone: Path | None
) -> float:
    """Train a segmentor and test it; its mIoU in percent."""
    start = 'scratch' if backbone is None else 'pretrained'
    work_dir = args.out / f'{network}-{start}'
    config = str(CONFIGS / SEGMENT.format(network))
    options = ['--cfg-options'] + [
        f'{loader}_dataloader.dataset.data_root={data}'
        for loader in ('train', 'val', 'test')
    ]
    schedule = [
        f'train_cfg.max_iters={args.iterations}',
        f'train_cfg.val_interval={max(args.iterations // POINTS, 1)}',
        f'default_hooks.checkpoint.interval={args.iterations}',
        f'randomness.seed={args.seed}',
    ]
    train = [str(TOOLS / 'train.py'), config, '--work-dir', str(work_dir)]
    if backbone is not None:
        train += ['--backbone', str(backbone)]
    name = f'{network}: segmentation, {start}'
    run(name, train + options + schedule, work_dir / 'train.txt')
    if backbone is not None:
        log = (work_dir / 'train.txt').read_text()
        report = re.search(r'Backbone from .*(?:\n  .*)*', log)
        assert report is not None
        CONSOLE.print('  ' + report[0].replace('\n', '\n  '), highlight=False)
    checkpoint = work_dir / f'iter_{args.iterations}.pth'
    test = [str(TOOLS / 'test.py'), config, str(checkpoint)]
    tested = args.out / f'{network}-{start}-test'
    folders = ['--work-dir', str(tested)]
    folders += ['--out', str(work_dir / 'predictions')]
    run(
        f'{network}: evaluation, {start}', test + folders + options, tested / 'test.txt'
    )
    return curve(tested, 'mIoU')[-1][1]


def curve(work_dir: Path, metric: str) -> list[tuple[int, float]]:
    """Iterations and values of a metric that the last run in a folder logged."""
    logs = sorted(work_dir.glob('*/**/*.json'), key=os.path.getmtime)
    lines = logs[-1].read_text().splitlines() if logs else []
    values = [v for v in map(json.loads, lines) if metric in v]
    if not values:
        raise ValueError(f'There is no {metric} in {work_dir}.')
    return [(v.get('step', 0), float(v[metric])) for v in values]


def draw(out: Path, data: Path, networks: list[str], rows: int = 6) -> Path:
    """Draw image, label and predictions of scenes, and the learning curves beside them.

    The scenes are spread over the validation set. None is chosen for how it looks.
    """
    import_stack_quietly()
    import matplotlib.pyplot as plt

    from mmcosub.datasets import DigitScenesDataset

    palette = np.array(DigitScenesDataset.METAINFO['palette'], dtype=np.uint8)
    names = sorted(p.name for p in (data / 'images' / 'validation').glob('*.png'))
    picked = [names[int(i)] for i in np.linspace(0, len(names) - 1, rows)]
    runs = [f'{network}-{start}' for network in networks for start in STARTS]
    titles = ['image', 'label', *(run.replace('-', ', ') for run in runs)]

    columns = len(titles)
    figure = plt.figure(figsize=(1.3 * columns + 5, 1.3 * rows), dpi=100)
    widths = [*[1.3] * columns, 0.4, 4.6]
    grid = figure.add_gridspec(rows, columns + 2, width_ratios=widths)
    for i, name in enumerate(picked):
        image = cv2.imread(str(data / 'images' / 'validation' / name))[..., ::-1]
        label = data / 'annotations' / 'validation' / name
        maps = [label, *(out / run / 'predictions' / name for run in runs)]
        shown = [image, *(palette[cv2.imread(str(path), -1)] for path in maps)]
        for j, (picture, title) in enumerate(zip(shown, titles, strict=True)):
            axis = figure.add_subplot(grid[i, j])
            axis.imshow(picture, interpolation='nearest')
            axis.set_axis_off()
            if i == 0:
                axis.set_title(title, fontsize=9)
    axis = figure.add_subplot(grid[:, -1])
    for run in runs:
        axis.plot(*zip(*curve(out / run, 'mIoU'), strict=True), marker='.', label=run)
    axis.set_xlabel('iterations of segmentation training')
    axis.set_title('mIoU on validation scenes, %', fontsize=9)
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    figure.subplots_adjust(0.01, 0.08, 0.99, 0.95, wspace=0.05, hspace=0.05)
    picture = out / 'comparison.png'
    figure.savefig(picture)
    return picture


def report(args: argparse.Namespace) -> Path:
    """Write the page about all trainings; its path."""
    runs = [f'{network}-{start}' for network in args.networks for start in STARTS]
    runs += [f'{network}-digits' for network in args.networks]
    page = args.out / 'report.html'
    command = [str(TOOLS / 'analysis_tools' / 'report.py'), '--out', str(page)]
    command += [str(args.out / name) for name in runs]
    run('writing the report', command, args.out / 'report.txt')
    return page


def make_data(args: argparse.Namespace) -> tuple[Path, Path]:
    """Make digits and scenes; their folders."""
    digits, scenes = args.out / 'digits', args.out / 'digit_scenes'
    commands = {
        digits: ['digits.py', '--size', '32', '--copies', '4'],
        scenes: [
            *('digit_scenes.py', '--size', '32', '--train', str(args.scenes)),
            *('--items', '1', '1', '--scale', '0.7', '0.95'),
        ],
    }
    with ThreadPoolExecutor(2) as pool:
        jobs = []
        for folder, (script, *options) in commands.items():
            command = [str(TOOLS / 'dataset_converters' / script), '--out', str(folder)]
            command += ['--seed', str(args.seed), *options]
            log = args.out / f'{folder.name}.txt'
            jobs.append(pool.submit(run, f'making {folder.name}', command, log))
        for job in jobs:
            job.result()
    return digits, scenes


def train(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All trainings, two at a time; mIoU by network and start."""
    digits, scenes = make_data(args)

    def pretrained(network: str) -> float:
        return segment(args, network, scenes, pretrain(args, network, digits))

    def scratch(network: str) -> float:
        return segment(args, network, scenes, None)

    with ThreadPoolExecutor(2) as pool:
        jobs: dict[str, dict[str, Future]] = {}
        for network in args.networks:
            jobs[network] = dict(
                pretrained=pool.submit(pretrained, network),
                scratch=pool.submit(scratch, network),
            )
        return {
            network: {start: job.result() for start, job in of.items()}
            for network, of in jobs.items()
        }


def main() -> None:
    args = parse_args()
    CONSOLE.print(f'Everything goes to {args.out}/.')
    try:
        with PROGRESS:
            results = train(args)
            page = report(args)
    except RuntimeError as error:
        sys.exit(str(error))
    title = f'mIoU on digit scenes, {args.iterations} iterations with cosub'
    table = Table('', 'from scratch', 'pretrained with cosub', title=title)
    for network, miou in results.items():
        table.add_row(network, *(f'{miou[start]:.1f}' for start in STARTS))
    CONSOLE.print(table)
    CONSOLE.print('One seed and a short training: an illustration, not a result.')
    (args.out / 'results.json').write_text(json.dumps(results, indent=2) + '\n')
    scenes = args.out / 'digit_scenes'
    CONSOLE.print(f'Pictures: {draw(args.out, scenes, args.networks)}')
    CONSOLE.print(f'Report, to open in a browser: {page}')


if __name__ == '__main__':
    main()
