r"""What ``compile=True`` does to a co-trained step.

    python benchmarks/compiled.py --out benchmarks/results/compiled-vit-s.json
    python benchmarks/compiled.py --network swin --batch 2 --size 512 \
        --out benchmarks/results/compiled-upernet-swin-t.json

Forward and backward by cosub as the config has it, relative to the same uncompiled; a
new draw of submodels each round. The first step, which compiles, is timed by itself.
"""

import argparse
import time

from models import CLASSIFIER, SEGMENTORS, Bench
from timing import add_timing_arguments, clock_of, compare, report

NETWORKS = {'vit classifier': CLASSIFIER, **SEGMENTORS}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--network', choices=NETWORKS, default='vit classifier')
    parser.add_argument('--batch', type=int, default=8, help='images a step')
    parser.add_argument('--size', type=int, default=224, help='image size in pixels')
    parser.add_argument('--rounds', type=int, default=7)
    add_timing_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    clock = clock_of(args)
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
