"""The price of unlabelled images: a co-trained step with and without them.

    python benchmarks/unlabelled.py --out benchmarks/results/unlabelled.json

UperNet-Swin-T, as many unlabelled as labelled images. A step is forward and backward of
both losses and the update of the averaged teacher; the optimizer is left out. Ratios
are to the co-trained step without unlabelled images.
"""

import argparse
from typing import Any

from models import SEGMENTORS, Bench, Call
from timing import add_timing_arguments, clock_of, compare, report

CASES: dict[str, dict | None] = {
    'without': None,
    'two submodels': {},
    'one submodel': dict(students='submodel'),
    'complementary submodels': dict(students='complementary'),
    'full student': dict(students='full'),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch', type=int, default=2, help='labelled images')
    parser.add_argument('--size', type=int, default=512, help='of the images')
    parser.add_argument('--rounds', type=int, default=5)
    add_timing_arguments(parser)
    return parser.parse_args()


def step(bench: Bench, unlabelled: dict | None) -> Call:
    """A call that computes the gradients of one co-trained step with `--fast`.

    Args:
        bench (Bench): The model's config, and a batch.
        unlabelled (dict, optional): Arguments of ``Unlabelled``. None for labels only.
    """
    model: Any = bench.build(fast=True, scheme={}, unlabelled=unlabelled).train()
    images = None
    if unlabelled is not None:
        weak, strong = bench.images, bench.images.flip(0)
        images = dict(weak=weak, strong=strong, data_samples=bench.samples)

    def run() -> None:
        model.zero_grad(set_to_none=False)
        losses = model(bench.images, bench.samples, 'loss', images)
        loss, _ = model.parse_losses(losses)
        loss.backward()
        if unlabelled is not None:
            model.unlabelled.after_step(model)

    return run


def main() -> None:
    args = parse_args()
    clock = clock_of(args)
    bench = Bench(SEGMENTORS['swin'], args.batch, args.size)
    cases = {name: step(bench, settings) for name, settings in CASES.items()}
    result = compare(cases, args.rounds, clock=clock)
    report(__doc__.splitlines()[0], result, args.out)


if __name__ == '__main__':
    main()
