"""What a co-trained backbone does besides its branches.

    python benchmarks/overheads.py --out benchmarks/results/overheads.json
    python benchmarks/overheads.py --host --out benchmarks/results/overheads-host.json

Share of forward and backward of a ViT-S by cosub (224 pixels, batch 16, rate 0.3 at
every block) that goes into drawing submodels, turning them into rows, and moving rows
(gathers, duplicates, adding back), by PyTorch's profiler.

With --host, milliseconds of the processor before the first kernel of a step, of ViT-S
and Swin-T: to draw a plan and turn it into rows at several batches, to find the fastest
exact execution, and to set up the pass.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from mmpretrain.models.backbones import SwinTransformer, VisionTransformer
from timing import write
from torch.profiler import ProfilerActivity, profile

from mmcosub.schemes import Cosub, GroupKnowledge
from mmcosub.submodels import (
    fastest_exact,
    find_branches,
    plan_generator,
    plan_rows,
    run_submodels,
)
from mmcosub.submodels.rows import Rows
from mmcosub.submodels.run import SubmodelRun

ROWS = (
    'aten::index_select', 'aten::index_add', 'aten::index_add_', 'aten::index',
    'aten::cat', 'aten::index_copy_', 'aten::new_zeros', 'aten::zeros',
)  # fmt: skip


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch', type=int, default=16, help='images a step')
    parser.add_argument('--rate', type=float, default=0.3, help='drop-path rate')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--host', action='store_true', help='time before the kernels')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def host(rate: float, rounds: int = 30) -> dict[str, dict[str, float]]:
    """Milliseconds of the processor, median of rounds, by network."""
    found = {}
    networks = {
        'ViT-S': VisionTransformer('deit-small', img_size=224),
        'Swin-T': SwinTransformer('tiny', img_size=224),
    }
    schemes = {'': Cosub, ', group knowledge': GroupKnowledge}
    for network, backbone in networks.items():
        row = found[network] = {}
        backbone.train()
        sites = find_branches(backbone)

        def timed(name: str, call: Callable[[], object], row: dict = row) -> None:
            times = []
            for _ in range(rounds):
                start = time.process_time()
                call()
                times.append(time.process_time() - start)
            row[name] = 1000 * median(times)

        for suffix, kind in schemes.items():
            scheme = kind(drop_path_rate=rate)
            for batch in (2, 16, 64, 256):
                rng = plan_generator(0, 0)
                draw = partial(scheme.draw, sites, batch, rng)
                timed(f'draw, batch {batch}{suffix}', draw)
                plan = draw()
                rows = partial(plan_rows, plan, True)
                timed(f'turn into rows, batch {batch}{suffix}', rows)
        timed('find the fastest execution', partial(fastest_exact, backbone, sites))
        arguments = backbone, sites, Rows([]), nullcontext, True
        timed('set up the pass', partial(SubmodelRun, *arguments))
    return found


def main() -> None:
    args = parse_args()
    if args.host:
        found = host(args.rate)
        for network, row in found.items():
            for name, milliseconds in row.items():
                print(f'{network}, {name}: {milliseconds:.2f} ms')
        if args.out:
            write(found, args.out)
        return
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    backbone = VisionTransformer('deit-small', img_size=224).to(device)
    images = torch.randn(args.batch, 3, 224, 224, device=device)
    sites = find_branches(backbone)
    scheme = Cosub(drop_path_rate=args.rate)
    rng = np.random.default_rng(0)
    shares: dict[str, list[float]] = {'drawing and planning': [], 'moving rows': []}
    for i in range(-1, args.rounds):
        activities = [ProfilerActivity.CPU]
        if device == 'cuda':
            activities.append(ProfilerActivity.CUDA)
        start = time.perf_counter()
        plan = scheme.draw(sites, args.batch, rng)
        plan_rows(plan, True, device)
        planned = time.perf_counter() - start
        with profile(activities=activities) as record:
            begin = time.perf_counter()
            outputs, _ = run_submodels(backbone, images, plan, sites)
            outputs[0].mean().backward()
            if device == 'cuda':
                torch.cuda.synchronize()
            whole = time.perf_counter() - begin
        key = 'self_device_time_total' if device == 'cuda' else 'self_cpu_time_total'
        events = {e.key: getattr(e, key) for e in record.key_averages()}
        moved = sum(events.get(name, 0.0) for name in ROWS) / sum(events.values())
        if i >= 0:
            shares['drawing and planning'].append(planned / whole)
            shares['moving rows'].append(moved)
    result = {
        name: dict(median=median(s), low=min(s), high=max(s))
        for name, s in shares.items()
    }
    for name, row in result.items():
        low, high = row['low'], row['high']
        print(f'{name}: {row["median"]:.2%} of a step ({low:.2%} to {high:.2%})')
    if args.out:
        write(result, args.out)


if __name__ == '__main__':
    main()
