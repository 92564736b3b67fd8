"""The price of co-training, of the faster parts and of both.

    python benchmarks/fast.py --out benchmarks/results/fast.json
    python benchmarks/fast.py --isa --out benchmarks/results/fast-isa.json
    python benchmarks/fast_table.py benchmarks/results/fast-isa.json

A training step is forward and backward; the optimizer, the same for all, is left out.
Each group's reference is the stock model's plain training (or inference). "Masked and
concatenated" is how cosub's public code does it: the batch doubled, every branch
computed for both halves and masked. Every round draws new submodels.

Columns: time, relative to the reference of the same round, median and quartiles; what
it must reach; arithmetic in matrix products, likewise relative; time over arithmetic
(1 means at the rate of the stock kernels); peak memory of a step's tensors besides
parameters, images and gradients, relative.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys

import torch
from memory import account
from models import CLASSIFIER, SEGMENTORS, Bench, Call
from rich.progress import track
from timing import add_timing_arguments, clock_of, compare, machine, report, write
from torch.profiler import ProfilerActivity, profile

CONSTANT = dict(drop_path_decay='constant')
HALF = dict(paired=0.5)
AT_MOST = {
    'swin: plain, fast': 0.45,
    'swin: cosub, fast': 0.8,
    'swin: cosub paired 0.5, fast': 0.65,
    'vit: cosub, fast': 0.75,
    'demo: plain, fast': 1.0,
    'inference: stock weights, fast': 0.48,
    'pretraining: cosub 0.1': 1.62,
    'pretraining: cosub 0.1 paired 0.5': 1.3,
    'pretraining: cosub 0.3': 1.37,
    'pretraining: cosub 0.5': 0.98,
}
# Read by oneDNN, PyTorch and MKL as they start. None: whatever the processor has.
LIMITS: dict[str, dict[str, str]] = {
    'AVX2': dict(
        ONEDNN_MAX_CPU_ISA='AVX2',
        ATEN_CPU_CAPABILITY='avx2',
        MKL_ENABLE_INSTRUCTIONS='AVX2',
    ),
    'AVX512': dict(
        ONEDNN_MAX_CPU_ISA='AVX512_CORE_BF16',
        ATEN_CPU_CAPABILITY='avx512',
        MKL_ENABLE_INSTRUCTIONS='AVX512',
    ),
    'none': {},
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--groups', nargs='+', choices=GROUPS, default=list(GROUPS), metavar='GROUP',
        help=f'of {", ".join(GROUPS)} (default: all)',
    )  # fmt: skip
    parser.add_argument(
        '--cases', nargs='+', metavar='CASE', help='only these of each group'
    )
    parser.add_argument('--batch', type=int, default=2, help='of segmentors')
    parser.add_argument('--size', type=int, default=512, help='of their images')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument(
        '--draws',
        type=int,
        default=3,
        help='over which arithmetic and memory are taken; 0 to leave them out',
    )
    parser.add_argument(
        '--bfloat16', action='store_true', help='all cases under autocast'
    )
    parser.add_argument('--threads', type=int, help='of PyTorch')
    parser.add_argument(
        '--isa', nargs='*', choices=LIMITS, metavar='LIMIT',
        help=f'a process for each limit of instructions (of {", ".join(LIMITS)}; '
        'default: all), one and two threads, float32 and bfloat16',
    )  # fmt: skip
    parser.add_argument('--append', action='store_true', help='to the records in --out')
    parser.add_argument(
        '--profile', action='store_true', help='print where the time goes, instead'
    )
    add_timing_arguments(parser)
    return parser.parse_args()


def segmentation(
    network: str, rate: dict, batch: int, size: int, half: torch.dtype | None
) -> dict[str, Call]:
    """Plain training and cosub of a UperNet."""
    bench = Bench(SEGMENTORS[network], batch, size, half)
    return {
        'plain': bench.step(),
        'plain, fast': bench.step(fast=True),
        'cosub, masked and concatenated': bench.reference(),
        'cosub, stock head': bench.step(scheme=rate),
        'cosub, fast': bench.step(fast=True, scheme=rate),
        'cosub paired 0.5, fast': bench.step(fast=True, scheme={**rate, **HALF}),
    }


def swin(batch: int, size: int, half: torch.dtype | None) -> dict[str, Call]:
    """UperNet-Swin-T, its own rates: linear to 0.3."""
    return segmentation('swin', {}, batch, size, half)


def vit(batch: int, size: int, half: torch.dtype | None) -> dict[str, Call]:
    """UperNet-ViT-S, rate 0.1 at every block."""
    rate = dict(drop_path_rate=0.1, **CONSTANT)
    return segmentation('vit', rate, batch, size, half)


def demo(batch: int, size: int, half: torch.dtype | None) -> dict[str, Call]:
    """The demo's small Swin at 64 pixels, batch 8, whatever the size of segmentors."""
    return segmentation('demo', {}, 8, 64, half)


def inference(batch: int, size: int, half: torch.dtype | None) -> dict[str, Call]:
    """UperNet-Swin-T."""
    bench = Bench(SEGMENTORS['swin'], batch, size, half)
    return {
        'stock weights': bench.prediction(),
        'stock weights, fast': bench.prediction(fast=True),
    }


def pretraining(batch: int, size: int, half: torch.dtype | None) -> dict[str, Call]:
    """ViT-S at 224 pixels, batch 16, whatever the size of segmentors."""
    bench = Bench(CLASSIFIER, 16, 224, half)
    cases = {'plain': bench.step(), 'cosub, masked and concatenated': bench.reference()}
    for rate in (0.1, 0.3, 0.5):
        scheme = dict(drop_path_rate=rate, **CONSTANT)
        cases[f'cosub {rate}'] = bench.step(scheme=scheme)
    scheme = dict(drop_path_rate=0.1, **CONSTANT, **HALF)
    cases['cosub 0.1 paired 0.5'] = bench.step(scheme=scheme)
    return cases


def run_limits(args: argparse.Namespace) -> None:
    """Run this script once for each limit, number of threads and precision."""
    if not args.append and args.out is not None:
        args.out.unlink(missing_ok=True)
    argv = sys.argv[1:]
    at = argv.index('--isa')
    argv = argv[:at] + argv[at + 1 + len(args.isa) :]
    threads = ['1'] if args.processor_time else ['1', '2']
    for limit, number, half in itertools.product(
        args.isa or LIMITS, threads, ([], ['--bfloat16'])
    ):
        command = [sys.executable, __file__, *argv, '--append', '--threads', number]
        # OpenMP's and MKL's threads are as many, too.
        env = {**os.environ, **LIMITS[limit], 'OMP_NUM_THREADS': number}
        subprocess.run([*command, *half], env=env, check=True)


def shares(case: Call, most: int = 10) -> str:
    """The operations that take most of a call's time, by PyTorch's profiler."""
    case()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        case()
    events = sorted(record.key_averages(), key=lambda e: -e.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    lines = (f'  {e.self_cpu_time_total / whole:6.1%} {e.key}' for e in events[:most])
    return '\n'.join(lines)


GROUPS = dict(
    swin=swin, vit=vit, demo=demo, inference=inference, pretraining=pretraining
)


def main() -> None:
    args = parse_args()
    if args.isa is not None:
        run_limits(args)
        return
    if args.threads:
        torch.set_num_threads(args.threads)
    half = torch.bfloat16 if args.bfloat16 else None
    if half and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        print('No bfloat16 in this instruction set: nothing to measure.')
        return
    title, clock = __doc__.splitlines()[0], clock_of(args)
    if args.processor_time:
        title = f'{title} Processor time.'
    result = {}
    for group in args.groups:
        cases = GROUPS[group](args.batch, args.size, half)
        reference = next(iter(cases))
        wanted = {reference, *(args.cases or cases)}
        cases = {name: case for name, case in cases.items() if name in wanted}
        if args.profile:
            for name, case in cases.items():
                print(f'{group}: {name}\n{shares(case)}\n')
            continue
        rows = compare(cases, args.rounds, warmup=1, clock=clock)
        costs = {
            name: account(case, args.draws if name.startswith('cosub') else 1)
            for name, case in track(cases.items(), 'arithmetic and memory')
            if args.draws
        }
        for name, row in rows.items():
            if costs:
                work, memory = costs[reference]
                row['arithmetic'] = costs[name][0] / work
                row['over_arithmetic'] = row['ratio'] / row['arithmetic']
                row['peak_memory'] = costs[name][1] / memory
            row['at_most'] = AT_MOST.get(f'{group}: {name}')
            result[f'{group}: {name}'] = row
    if not result:
        return
    report(title, result)
    if args.out is not None:
        before = (
            json.loads(args.out.read_text())
            if args.append and args.out.exists()
            else []
        )
        precision = 'bfloat16' if half else 'float32'
        clock_name = 'processor' if args.processor_time else 'elapsed'
        settings = dict(precision=precision, time=clock_name, **machine())
        write([*before, dict(title=title, **settings, result=result)], args.out)


if __name__ == '__main__':
    main()
