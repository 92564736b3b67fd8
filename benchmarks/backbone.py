"""Step time of cosub on a backbone alone, against plain training without drop path.

    python benchmarks/backbone.py --out benchmarks/results/backbone-vit-s.json

A step is forward and backward of a ViT-S at 224 pixels, batch 16; the optimizer, the
same for all, is left out. Every round draws new plans.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from mmpretrain.models.backbones import VisionTransformer
from timing import compare, report

from mmcosub.submodels import (
    EXECUTIONS,
    BernoulliSampler,
    Plan,
    find_branches,
    run_submodels,
    spread_rates,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--arch', default='deit-small', help="MMPretrain's ViT size")
    parser.add_argument('--batch', type=int, default=16, help='images a step')
    parser.add_argument('--size', type=int, default=224, help='image size in pixels')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--rates', type=float, nargs='+', default=[0.1, 0.3, 0.5])
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    backbone = VisionTransformer(args.arch, img_size=args.size).to(device)
    images = torch.randn(args.batch, 3, args.size, args.size, device=device)
    sites = find_branches(backbone)
    sampler, rng = BernoulliSampler(), np.random.default_rng(0)

    def plain() -> None:
        backbone.zero_grad()
        backbone(images)[0].mean().backward()

    def cosub(rate: float, execution: str) -> None:
        backbone.zero_grad()
        rates = spread_rates(rate, [site.depth for site in sites])
        keep = [sampler(rates, args.batch, rng) for _ in range(2)]
        plan = Plan.from_keep(np.stack(keep, axis=1), rates)
        outputs, _ = run_submodels(backbone, images, plan, sites, execution)
        outputs[0].mean().backward()

    cases = {'plain training': plain}
    for rate in args.rates:
        for execution in EXECUTIONS:
            name = f'cosub, rate {rate}, {execution.replace("_", " ")}'
            cases[name] = lambda r=rate, e=execution: cosub(r, e)
    title = f'{args.arch} at {args.size} pixels, batch {args.batch}, forward + backward'
    report(title, compare(cases, args.rounds), args.out)


if __name__ == '__main__':
    main()
