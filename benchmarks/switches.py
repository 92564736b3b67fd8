"""What PyTorch's own switches add to a co-trained step of UperNet-Swin-T.

    python benchmarks/switches.py --out benchmarks/results/switches.json

Forward and backward by cosub with the fast parts, 512x512, batch 2, relative to the
same without the switch: memory format channels-last, bfloat16 autocast (``--amp``), and
the decode head compiled by ``torch.compile``, whose compilation is left out.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from models import SEGMENTORS, Bench, Call
from timing import compare, report

SWITCHES = ('as it is', 'channels last', 'bfloat16', 'compiled head')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch', type=int, default=2, help='images a step')
    parser.add_argument('--size', type=int, default=512, help='image size in pixels')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument(
        '--switches', nargs='+', choices=SWITCHES[1:], default=list(SWITCHES[1:])
    )
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def step(switch: str, batch: int, size: int) -> Call:
    """A training step with one of the switches on."""
    bench = Bench(SEGMENTORS['swin'], batch, size)
    model: Any = bench.build(fast=True, scheme={}).train()
    images = bench.images
    if switch == 'channels last':
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    if switch == 'compiled head':
        model.decode_head.forward = torch.compile(model.decode_head.forward)

    def run() -> None:
        model.zero_grad(set_to_none=False)
        half = switch == 'bfloat16'
        with torch.autocast(bench.device, torch.bfloat16, enabled=half):
            loss, _ = model.parse_losses(model.loss(images, bench.samples))
        loss.backward()

    return run


def main() -> None:
    args = parse_args()
    switches = [SWITCHES[0], *args.switches]
    cases = {switch: step(switch, args.batch, args.size) for switch in switches}
    report(__doc__.splitlines()[0], compare(cases, args.rounds, warmup=2), args.out)


if __name__ == '__main__':
    main()
