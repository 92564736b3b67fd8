"""Share of both views' branch evaluations that cosub computes, coupled views or not.

    python benchmarks/branch_work.py --out benchmarks/results/branch-work.json

What the shared prefix leaves of running every branch for both views, which is 1, and
would be 2 of plain training. Means over many draws, of an image; no network is run.
Every branch counts the same. In a ViT or a Swin all blocks have about the same
arithmetic.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from mmpretrain.models.backbones import SwinTransformer, VisionTransformer
from rich.console import Console
from rich.table import Table

from mmcosub.schemes import Cosub
from mmcosub.submodels import find_branches, plan_rows

BACKBONES = {
    'ViT-S': (VisionTransformer, dict(arch='deit-small')),
    'Swin-T': (SwinTransformer, dict(arch='tiny')),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rates', type=float, nargs='+', default=[0.1, 0.3, 0.5])
    parser.add_argument(
        '--coupled', type=float, nargs='+', default=[0.0, 0.25, 0.5, 0.75]
    )
    parser.add_argument('--images', type=int, default=20000, help='to average over')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    columns = [f'coupled {share}' for share in args.coupled]
    table = Table('backbone', 'decay', 'rate', *columns, title='work, mean of an image')
    rows = []
    for name, (backbone, kwargs) in BACKBONES.items():
        sites = find_branches(backbone(**kwargs))
        for decay in ('constant', 'linear'):
            for rate in args.rates:
                schemes = [
                    Cosub(drop_path_rate=rate, drop_path_decay=decay, coupled=share)
                    for share in args.coupled
                ]
                work = [
                    # The same draws for all, so that they differ by coupling alone.
                    plan_rows(
                        scheme.draw(sites, args.images, np.random.default_rng(0)), True
                    ).work
                    for scheme in schemes
                ]
                table.add_row(name, decay, str(rate), *(f'{w:.3f}' for w in work))
                rows.append(
                    dict(
                        backbone=name,
                        branches=len(sites),
                        decay=decay,
                        rate=rate,
                        work=dict(zip(columns, work, strict=True)),
                    )
                )
    Console().print(table)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        record = dict(images=args.images, result=rows)
        args.out.write_text(json.dumps(record, indent=2) + '\n')
        Console().print(f'Written to {args.out}')


if __name__ == '__main__':
    main()
