r"""What ``compile=True`` does to a co-trained step.

    python benchmarks/compiled.py --out benchmarks/results/compiled-vit-s.json
    python benchmarks/compiled.py --network swin --batch 2 --size 512 \
        --out benchmarks/results/compiled-upernet-swin-t.json

Forward and backward by cosub as the config has it, relative to the same uncompiled; a
new draw of submodels each round. The first step, which compiles, is timed by itself.
"""

import argparse
import time
from pathlib import Path

import torch
from models import CLASSIFIER, SEGMENTORS, Bench
from timing import compare, report

NETWORKS = {'vit classifier': CLASSIFIER, **SEGMENTORS}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--network', choices=NETWORKS, default='vit classifier')
    parser.add_argument('--batch', type=int, default=8, help='images a step')
    parser.add_argument('--size', type=int, default=224, help='image size in pixels')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument(
        '--processor-time',
        action='store_true',
        help='time of the processor in one thread, where others use the machine, too',
    )
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    clock = time.perf_counter
    if args.processor_time:
        torch.set_num_threads(1)
        clock = time.process_time
    bench = Bench(NETWORKS[args.network], args.batch, args.size)
    cases = {
        'cosub': bench.step(scheme={}),
        'cosub, compiled': bench.step(scheme={}, compiled=True),
    }
    first = {}
    for name, case in cases.items():
        start = time.perf_counter()
        case()
        first[name] = time.perf_counter() - start
    result = compare(cases, args.rounds, clock=clock)
    for name, seconds in first.items():
        result[name]['first_step_seconds'] = seconds
    print(f'first step: {first}')
    title = f'{args.network} at {args.size} pixels, batch {args.batch}'
    report(f'{title}, torch.compile, forward + backward', result, args.out)


if __name__ == '__main__':
    main()
