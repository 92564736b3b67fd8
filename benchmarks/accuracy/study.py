#!/usr/bin/env python
"""Methods and plain training on digits and digit scenes, several seeds each.

Every run is one file in --out; runs that are there are not done again, so the command
may be stopped and given again. `report.py` makes the table and the plot.

The time of a method's step, from which the iterations of the same compute come, is
processor time, the median over rounds in which the methods take turns. It is measured
for what --costs lacks and kept there, so another machine does the same iterations.
Those of digits are older and of wall time, the median of steps with two runs at a time.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')

from configs import (
    ABLATIONS,
    METHODS,
    PRETRAIN,
    PRETRAIN_OPTIONS,
    TASKS,
    Task,
    make_config,
)

ROOT = Path(__file__).resolve().parents[2]


def build_runner(cfg: Any) -> Any:
    """The runner of a config, in one thread."""
    import torch

    from mmcosub.engine import CoTrainingRunner
    from mmcosub.stack import import_stack_quietly

    torch.set_num_threads(1)
    import_stack_quietly()
    forget_runs()
    return CoTrainingRunner.from_cfg(cfg)


def forget_runs() -> None:
    """Let go of what MMEngine keeps of the runs before."""
    from mmengine.utils import ManagerMixin

    for cls in ManagerMixin.__subclasses__():
        for sub in (cls, *cls.__subclasses__()):
            getattr(sub, '_instance_dict', {}).clear()


def write(path: Path, result: object) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix('.part')
    partial.write_text(json.dumps(result, indent=1) + '\n')
    os.replace(partial, path)


def work_dir(out: Path) -> Path:
    return out / 'work' / str(os.getpid())


def run(job: dict, data: Path, out: Path) -> None:
    """One training and its evaluation, written to a file."""
    task = TASKS[job['task']]
    start = start_of(out, job['network']) if task.pretrained else None
    runner = build_runner(make_config(job, data, work_dir(out), start))
    begin = time.process_time()
    runner.train()
    seconds = time.process_time() - begin
    score = float(runner.message_hub.get_scalar(f'val/{task.metric}').current())
    loss = float(runner.message_hub.get_scalar('train/loss').mean(20))
    result = dict(job, score=score, loss=loss, seconds=round(seconds, 1))
    write(out / file_name(job), result)
    shutil.rmtree(work_dir(out), ignore_errors=True)
    print(f'{file_name(job)}: {score:.1f}', flush=True)


def file_name(job: dict) -> str:
    method = job['method'].replace(' ', '_').replace(':', '').replace(',', '')
    parts = (job['task'], job['network'], method, job['budget'], job['seed'])
    return '-'.join(map(str, parts)) + '.json'


# ---- what segmentors start from --------------------------------------------------


def start_of(out: Path, network: str, data: str = 'other scenes') -> Path:
    return out / 'starts' / f'{network}-{data.replace(" ", "-")}.pth'


def pretrain(network: str, data: Path, out: Path) -> None:
    """Plain training that makes the start of every segmentor of the network."""
    start = None
    for folder, iterations in PRETRAIN[network].items():
        path = start_of(out, network, folder)
        if not path.is_file():
            segments = folder != 'digits'
            task = Task(folder, iterations, folder.replace(' ', '-'), segments)
            job = dict(network=network, method='plain', seed=100, iterations=iterations)
            cfg = make_config(job, data, work_dir(out), start, task)
            if segments:
                cfg.merge_from_dict(PRETRAIN_OPTIONS)
            runner = build_runner(cfg)
            runner.train()
            score = runner.message_hub.get_scalar(f'val/{task.metric}').current()
            path.parent.mkdir(parents=True, exist_ok=True)
            options = dict(save_optimizer=False, save_param_scheduler=False)
            runner.save_checkpoint(str(path.parent), f'{path.stem}.part', **options)
            os.replace(path.with_suffix('.part'), path)
            write(path.with_suffix('.json'), dict(job, data=folder, score=float(score)))
            print(f'{network}: {score:.1f} % after {folder}', flush=True)
        start = path


# ---- the price of a step ---------------------------------------------------------


def measure(
    task: str, network: str, data: Path, out: Path, rounds: int, steps: int = 3
) -> dict[str, float]:
    """Processor time of a step, data included, as multiples of plain training's.

    Args:
        task (str): Task.
        network (str): Network.
        data (Path): Folder of the data.
        out (Path): Folder of the study.
        rounds (int): In each of them every method does some steps in its turn.
        steps (int): How many. Defaults to 3.
    """
    import numpy as np

    turns = {}
    for method in TASKS[task].methods or METHODS:
        job = dict(task=task, network=network, method=method, seed=0, iterations=1000)
        turns[method] = stepper(make_config(job, data, work_dir(out)))
    times = {method: np.zeros(rounds) for method in turns}
    for i in range(-1, rounds):
        for method, step in turns.items():
            begin = time.process_time()
            for _ in range(steps):
                step()
            if i >= 0:
                times[method][i] = time.process_time() - begin
    shutil.rmtree(work_dir(out), ignore_errors=True)
    return {m: round(float(np.median(t / times['plain'])), 3) for m, t in times.items()}


def stepper(cfg: Any) -> Callable[[], object]:
    """A function that does one more step of the training of a config."""
    runner = build_runner(cfg)
    loop = runner.build_train_loop(runner._train_loop)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.model.train()
    batches = iter(loop.dataloader)
    return lambda: runner.model.train_step(next(batches), wrapper)


def costs(args: argparse.Namespace, pool: Any) -> dict:
    """Costs by task, network and method; measured where there are none yet."""
    known = json.loads(args.costs.read_text()) if args.costs.is_file() else {}
    todo = [
        (task, network)
        for task, network in grid(args)
        if network not in known.get(task, {})
    ]
    print(f'Measuring the steps of {len(todo)} tasks and networks.', flush=True)
    todo_args = [(*pair, args.data, args.out, args.rounds) for pair in todo]
    for (task, network), measured in zip(
        todo, pool.starmap(measure, todo_args, 1), strict=True
    ):
        known.setdefault(task, {})[network] = measured
        args.costs.parent.mkdir(parents=True, exist_ok=True)
        write(args.costs, known)
    return known


# ---- the runs --------------------------------------------------------------------


def grid(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Tasks and networks."""
    return [
        (task, network)
        for task in args.tasks
        for network in args.networks
        if network in TASKS[task].networks
    ]


def jobs(args: argparse.Namespace, budget: str, known: dict) -> list[dict]:
    """The runs of a budget that are still to do, seed by seed."""
    todo = []
    for seed, (task, network) in itertools.product(range(args.seeds), grid(args)):
        for method in ABLATIONS if args.ablation else TASKS[task].methods or METHODS:
            if args.methods and method not in args.methods:
                continue
            iterations = TASKS[task].iterations
            if budget == 'compute':
                if method == 'plain':
                    continue  # plain training's is the same run
                iterations = max(round(iterations / known[task][network][method]), 1)
            job = dict(
                task=task,
                network=network,
                method=method,
                budget=budget,
                seed=seed,
                iterations=iterations,
            )
            if not (args.out / file_name(job)).is_file():
                todo.append(job)
    return todo


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    results = ROOT / 'benchmarks' / 'results'
    parser.add_argument('--out', type=Path, default=results / 'accuracy')
    parser.add_argument('--data', type=Path, default=ROOT / 'data' / 'accuracy')
    parser.add_argument(
        '--costs', type=Path, default=results / 'accuracy-costs.json', metavar='FILE'
    )
    parser.add_argument('--rounds', type=int, default=10, help='of measuring steps')
    parser.add_argument(
        '--tasks', nargs='+', choices=TASKS, default=['digits', 'scenes']
    )
    parser.add_argument('--networks', nargs='+', default=['swin', 'vit'])
    parser.add_argument(
        '--methods', nargs='+', choices=[*METHODS, *ABLATIONS], metavar='METHOD'
    )
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--budgets', nargs='+', default=['iterations', 'compute'])
    parser.add_argument(
        '--ablation', action='store_true', help="cosub's settings, not the methods"
    )
    parser.add_argument('--processes', type=int, default=os.cpu_count() or 1)
    return parser.parse_args(argv)


def make_data(data: Path) -> None:
    """Make the digits and the scenes, the same ones always."""
    converters = ROOT / 'tools' / 'dataset_converters'
    for command in (
        ['digits.py', '--out', str(data / 'digits'), '--size', '48', '--copies', '3'],
        ['digit_scenes.py', '--out', str(data / 'scenes'), '--size', '64'],
        # Of the same handwritten digits, those of training.
        [
            'digit_scenes.py',
            '--out',
            str(data / 'other-scenes'),
            '--size',
            '64',
            '--seed',
            '1',
        ],
    ):
        script = str(converters / command[0])
        subprocess.run([sys.executable, script, *command[1:]], check=True)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    make_data(args.data)
    budgets = ['iterations'] if args.ablation else args.budgets
    with multiprocessing.get_context('spawn').Pool(args.processes) as pool:
        starts = {n for task, n in grid(args) if TASKS[task].pretrained}
        missing = [n for n in sorted(starts) if not start_of(args.out, n).is_file()]
        pool.starmap(pretrain, [(n, args.data, args.out) for n in missing], 1)
        known = costs(args, pool) if 'compute' in budgets else {}
        for budget in budgets:
            todo = jobs(args, budget, known)
            print(f'{len(todo)} runs of the same {budget} to do.', flush=True)
            pool.starmap(run, [(job, args.data, args.out) for job in todo], 1)
    shutil.rmtree(args.out / 'work', ignore_errors=True)


if __name__ == '__main__':
    main()
