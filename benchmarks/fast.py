"""The price of co-training, of the faster parts and of both.

    python benchmarks/fast.py --out benchmarks/results/fast.json

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

from arithmetic import account
from models import CLASSIFIER, SEGMENTORS, Bench, Call
from rich.progress import track
from timing import add_timing_arguments, clock_of, compare, report
from torch.profiler import ProfilerActivity, profile

CONSTANT = dict(drop_path_decay='constant')
AT_MOST = {
    'swin: plain, fast': 0.65,
    'swin: cosub, fast': 0.95,
    'vit: cosub, fast': 1.18,
    'demo: plain, fast': 1.0,
    'inference: stock weights, fast': 0.6,
    'pretraining: cosub 0.1': 1.65,
    'pretraining: cosub 0.3': 1.37,
    'pretraining: cosub 0.5': 0.99,
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
        help='over which arithmetic and memory are taken',
    )
    parser.add_argument(
        '--profile', action='store_true', help='print where the time goes, instead'
    )
    add_timing_arguments(parser)
    return parser.parse_args()


def segmentation(network: str, rate: dict, batch: int, size: int) -> dict[str, Call]:
    """Plain training and cosub of a UperNet."""
    bench = Bench(SEGMENTORS[network], batch, size)
    return {
        'plain': bench.step(),
        'plain, fast': bench.step(fast=True),
        'cosub, masked and concatenated': bench.reference(),
        'cosub, stock head': bench.step(scheme=rate),
        'cosub, fast': bench.step(fast=True, scheme=rate),
    }


def swin(batch: int, size: int) -> dict[str, Call]:
    """UperNet-Swin-T, its own rates: linear to 0.3."""
    return segmentation('swin', {}, batch, size)


def vit(batch: int, size: int) -> dict[str, Call]:
    """UperNet-ViT-S, rate 0.1 at every block."""
    return segmentation('vit', dict(drop_path_rate=0.1, **CONSTANT), batch, size)


def demo(batch: int, size: int) -> dict[str, Call]:
    """The demo's small Swin at 64 pixels, batch 8, whatever the size of segmentors."""
    return segmentation('demo', {}, 8, 64)


def inference(batch: int, size: int) -> dict[str, Call]:
    """UperNet-Swin-T."""
    bench = Bench(SEGMENTORS['swin'], batch, size)
    return {
        'stock weights': bench.prediction(),
        'stock weights, fast': bench.prediction(fast=True),
    }


def pretraining(batch: int, size: int) -> dict[str, Call]:
    """ViT-S at 224 pixels, batch 16, whatever the size of segmentors."""
    bench = Bench(CLASSIFIER, 16, 224)
    cases = {'plain': bench.step(), 'cosub, masked and concatenated': bench.reference()}
    for rate in (0.1, 0.3, 0.5):
        scheme = dict(drop_path_rate=rate, **CONSTANT)
        cases[f'cosub {rate}'] = bench.step(scheme=scheme)
    return cases


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
    title, clock = __doc__.splitlines()[0], clock_of(args)
    if args.processor_time:
        title = f'{title} Processor time.'
    result = {}
    for group in args.groups:
        cases = GROUPS[group](args.batch, args.size)
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
        }
        work, memory = costs[reference]
        for name, row in rows.items():
            row['arithmetic'] = costs[name][0] / work
            row['over_arithmetic'] = row['ratio'] / row['arithmetic']
            row['peak_memory'] = costs[name][1] / memory
            row['at_most'] = AT_MOST.get(f'{group}: {name}')
            result[f'{group}: {name}'] = row
    if result:
        report(title, result, args.out)


if __name__ == '__main__':
    main()
