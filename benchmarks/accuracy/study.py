#!/usr/bin/env python
"""All methods and plain training on digits and digit scenes, several seeds each.

Every run is one file in --out; runs that are there are not done again, so the command
may be stopped and given again. `report.py` makes the table and the plot.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

HERE = Path(__file__).resolve().parent
# In 300 iterations nothing but the ground of a scene is learned.
ITERATIONS = dict(digits=300, scenes=2000)
RATE = 0.1

SWIN = dict(
    type='mmpretrain.SwinTransformer',
    arch=dict(embed_dims=24, depths=[2, 2, 4], num_heads=[1, 2, 4]),
    window_size=4,
    drop_path_rate=RATE,
    pad_small_map=True,
)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=96, num_layers=6, num_heads=3, feedforward_channels=192),
    patch_size=8,
    layer_cfgs=dict(drop_path_rate=RATE),
)
# Config fragment and settings of the scheme; None is plain training.
METHODS: dict[str, tuple[str, dict] | None] = {
    'plain': None,
    'cosub': ('cosub', {}),
    'AugDrop': ('augdrop', dict(ratio=0.5)),
    'AugPath': ('augpath', dict(ratio=0.5)),
    'AugMask': ('augmask', dict(ratio=0.5)),
    'stimulative': ('stimulative', {}),
    'group knowledge': ('gkt', {}),
    'collaboration: output': ('collaboration', dict(intermediate=0.0)),
    'collaboration: heads': ('collaboration', dict(output=0.0, intermediate=0.5)),
    'collaboration: redundancy': (
        'collaboration',
        dict(output=0.0, intermediate=0.0, representation=0.1, kernel=0.1),
    ),
}
# Why cosub wins or not: its drop-path rate, weight and ramp (half of the run).
ABLATIONS = {
    **{
        f'cosub, rate {rate}': ('cosub', dict(drop_path_rate=rate))
        for rate in (0.02, 0.05, 0.2, 0.4)
    },
    **{
        f'cosub, weight {weight}': ('cosub', dict(weight=weight))
        for weight in (0.1, 0.25, 0.75)
    },
    'cosub, ramp': ('cosub', dict(ramp=True)),
}


def make_config(job: dict, data: Path, work_dir: Path):
    """The config of a run."""
    from mmengine.config import Config

    from mmcosub.engine.co_train import apply_scheme

    task, iterations = job['task'], job['iterations']
    segments = task == 'scenes'
    name = 'segmentation.py' if segments else 'classification.py'
    cfg = Config.fromfile(HERE / name)
    backbone = dict(SWIN if job['network'] == 'swin' else VIT)
    vit = job['network'] == 'vit'
    size = 64 if segments else 48
    width = 96
    if vit:
        outs = dict(out_type='featmap', out_indices=(1, 2, 4, 5), final_norm=False)
        backbone |= outs if segments else dict(out_type='avg_featmap')
        channels = [width] * 4
    else:
        backbone |= dict(out_indices=(0, 1, 2) if segments else (2,))
        channels = [24, 48, 96]
    cfg.model.backbone = dict(backbone, img_size=size)
    if segments:
        levels = list(range(len(channels)))
        cfg.model.decode_head.update(in_channels=channels, in_index=levels)
        cfg.model.auxiliary_head.update(in_channels=channels[1], in_index=1)
        if vit:
            cfg.model.neck = dict(
                type='Feature2Pyramid',
                embed_dim=width,
                rescales=[4, 2, 1, 0.5],
                norm_cfg=dict(type='BN'),
            )
    else:
        cfg.model.head.in_channels = width
        if vit:
            cfg.model.neck = None
    for key in ('train_dataloader', 'val_dataloader'):
        cfg[key].dataset.data_root = str(data / task)
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    cfg.train_cfg.update(max_iters=iterations, val_interval=iterations)
    cfg.randomness = dict(seed=job['seed'])
    cfg.work_dir = str(work_dir)
    method = {**METHODS, **ABLATIONS}[job['method']]
    if method is not None:
        fragment, settings = method
        apply_scheme(cfg, fragment)
        settings = dict(settings)
        if settings.pop('ramp', False):
            hook = dict(type='mmcosub.CoTrainingLossHook', ramp=iterations // 2)
            cfg.custom_hooks = [hook]
        cfg.scheme.update(settings)
        cfg.scheme.seed = job['seed']
    return cfg


def run(job: dict, data: Path, out: Path) -> None:
    """One training and its evaluation, written to a file."""
    import numpy as np
    import torch
    from mmengine.utils import ManagerMixin

    from mmcosub.engine import CoTrainingRunner
    from mmcosub.stack import import_stack_quietly

    torch.set_num_threads(1)
    import_stack_quietly()
    work_dir = out / 'work' / str(os.getpid())
    cfg = make_config(job, data, work_dir)
    cfg.log_level = 'WARNING'
    runner = CoTrainingRunner.from_cfg(cfg)
    runner.train()
    hub = runner.message_hub
    times = hub.get_scalar('train/time').data[0][len_warmup(job) :]
    metric = 'mIoU' if job['task'] == 'scenes' else 'accuracy/top1'
    score = float(hub.get_scalar(f'val/{metric}').current())
    result = dict(job, score=score, step=float(np.median(times)))
    path = out / file_name(job)
    partial = path.with_suffix('.part')
    partial.write_text(json.dumps(result, indent=2) + '\n')
    os.replace(partial, path)
    for cls in ManagerMixin.__subclasses__():
        for sub in (cls, *cls.__subclasses__()):
            getattr(sub, '_instance_dict', {}).clear()
    shutil.rmtree(work_dir, ignore_errors=True)
    print(f'{file_name(job)}: {score:.1f}', flush=True)


def len_warmup(job: dict) -> int:
    """Iterations whose times are not representative."""
    return min(20, job['iterations'] // 4)


def file_name(job: dict) -> str:
    method = job['method'].replace(' ', '_').replace(':', '').replace(',', '')
    parts = (job['task'], job['network'], method, job['budget'], job['seed'])
    return '-'.join(map(str, parts)) + '.json'


def jobs(args: argparse.Namespace, budget: str) -> list[dict]:
    """The runs of a budget that are still to do, seed by seed."""
    methods = [*(METHODS if args.ablation is False else ABLATIONS)]
    todo = []
    grid = itertools.product(range(args.seeds), args.tasks, args.networks, methods)
    for seed, task, network, method in grid:
        iterations = ITERATIONS[task]
        job = dict(
            task=task,
            network=network,
            method=method,
            budget=budget,
            seed=seed,
            iterations=iterations,
        )
        if budget == 'compute':
            if method == 'plain':
                continue  # the same run
            job['iterations'] = max(round(iterations / cost(args.out, job)), 1)
        if not (args.out / file_name(job)).is_file():
            todo.append(job)
    return todo


def cost(out: Path, job: dict) -> float:
    """Median step time of a method over plain training's, over all seeds."""
    import numpy as np

    def step(method: str) -> float:
        runs = [
            json.loads((out / file_name(other)).read_text())['step']
            for seed in range(100)
            if (out / file_name(
                other := dict(job, method=method, budget='iterations', seed=seed)
            )).is_file()
        ]  # fmt: skip
        return float(np.median(runs))

    return step(job['method']) / step('plain')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=Path('benchmarks/results/accuracy'))
    parser.add_argument('--data', type=Path, default=Path('data/accuracy'))
    parser.add_argument('--tasks', nargs='+', default=['digits', 'scenes'])
    parser.add_argument('--networks', nargs='+', default=['swin', 'vit'])
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--budgets', nargs='+', default=['iterations', 'compute'])
    parser.add_argument(
        '--ablation', action='store_true', help="cosub's settings, not the methods"
    )
    parser.add_argument('--processes', type=int, default=os.cpu_count() or 1)
    return parser.parse_args(argv)


def make_data(data: Path) -> None:
    """Make the digits and the scenes, the same ones always."""
    import subprocess
    import sys

    converters = HERE.parents[1] / 'tools' / 'dataset_converters'
    for command in (
        ['digits.py', '--out', str(data / 'digits'), '--size', '48', '--copies', '3'],
        ['digit_scenes.py', '--out', str(data / 'scenes'), '--size', '64'],
    ):
        script = str(converters / command[0])
        subprocess.run([sys.executable, script, *command[1:]], check=True)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    make_data(args.data)
    spawn = multiprocessing.get_context('spawn')
    for budget in args.budgets if not args.ablation else ['iterations']:
        todo = jobs(args, budget)
        print(f'{len(todo)} runs of the same {budget} to do.', flush=True)
        with spawn.Pool(args.processes) as pool:
            pool.starmap(run, [(job, args.data, args.out) for job in todo], 1)
    shutil.rmtree(args.out / 'work', ignore_errors=True)


if __name__ == '__main__':
    main()
