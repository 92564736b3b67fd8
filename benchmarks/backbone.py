r"""Step time of cosub on a backbone alone, against plain training without drop path.

    python benchmarks/backbone.py --out benchmarks/results/backbone-vit-s.json

Unknown blocks, whose own drop paths are handed the factors, against the masked
and concatenated form of known ones:

    python benchmarks/backbone.py --arch deit-tiny --batch 8 --rates 0.1 --rounds 9 \
        --executions plain drop_path --processor-time \
        --out benchmarks/results/drop-path-vit-t.json

A step is forward and backward of a ViT-S at 224 pixels, batch 16; the optimizer, the
same for all, is left out. Every round draws new plans.
"""

import argparse
from functools import partial

import numpy as np
import torch
from mmpretrain.models.backbones import VisionTransformer
from timing import add_timing_arguments, clock_of, compare, report

from mmcosub.schemes import Cosub
from mmcosub.submodels import (
    EXECUTIONS,
    called_drop_paths,
    find_branches,
    run_submodels,
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
    parser.add_argument('--executions', nargs='+', default=EXECUTIONS[:3])
    add_timing_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    backbone = VisionTransformer(args.arch, img_size=args.size).to(device)
    images = torch.randn(args.batch, 3, args.size, args.size, device=device)
    known, drop_paths = find_branches(backbone), called_drop_paths(backbone, images)
    rng = np.random.default_rng(0)

    def plain() -> None:
        backbone.zero_grad()
        backbone(images)[0].mean().backward()

    def cosub(scheme: Cosub) -> None:
        backbone.zero_grad()
        sites = drop_paths if scheme.execution == 'drop_path' else known
        plan = scheme.draw(sites, args.batch, rng)
        outputs, _ = run_submodels(backbone, images, plan, sites, scheme.execution)
        outputs[0].mean().backward()

    cases = {'plain training': plain}
    for rate in args.rates:
        for execution in args.executions:
            scheme = Cosub(drop_path_rate=rate, execution=execution)
            name = f'cosub, rate {rate}, {execution.replace("_", " ")}'
            cases[name] = partial(cosub, scheme)
    title = f'{args.arch} at {args.size} pixels, batch {args.batch}, forward + backward'
    if args.processor_time:
        title = f'{title}, processor time'
    report(title, compare(cases, args.rounds, clock=clock_of(args)), args.out)


if __name__ == '__main__':
    main()
