"""How the price of cosub grows with batch, image size, depth, rate and views.

    python benchmarks/scaling.py --out benchmarks/results/scaling.json \
        --plot docs/scaling.png

Time and peak memory of forward and backward of a ViT-Ti backbone, relative to plain
training of the same network on the same images, with the arithmetic floor: the matrix
products of the branches that some view keeps, as a share of plain training's. "Masked
and concatenated" computes every branch for every view. One thing changes at a time,
from 192 pixels, batch 4, 12 blocks, rate 0.3 at every block and two views.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from memory import account
from mmpretrain.models.backbones import VisionTransformer
from timing import compare, write

from mmcosub.submodels import (
    BernoulliSampler,
    Plan,
    find_branches,
    run_submodels,
    spread_rates,
)

START = dict(batch=4, size=192, depth=12, rate=0.3, views=2)
SWEEPS = dict(
    batch=[1, 2, 4, 8, 16],
    size=[96, 192, 288, 384],
    depth=[6, 12, 24],
    rate=[0.05, 0.1, 0.3, 0.5, 0.7],
    views=[1, 2, 3, 4],
)
TITLES = dict(
    batch='batch', size='image size in pixels', depth='blocks', rate='drop-path rate',
    views='views',
)  # fmt: skip
CASES = dict(plain='masked and concatenated', shared_prefix='cosub')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    parser.add_argument('--plot', type=Path, help='picture to draw')
    parser.add_argument(
        '--record', type=Path, help='draw this JSON file instead of measuring'
    )
    return parser.parse_args()


def measure(
    rounds: int, batch: int, size: int, depth: int, rate: float, views: int
) -> dict[str, dict[str, float]]:
    """Time, arithmetic and peak memory of each case, relative to plain training."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    arch = dict(embed_dims=192, num_layers=depth, num_heads=3, feedforward_channels=768)
    backbone = VisionTransformer(arch, img_size=size).to(device)
    images = torch.randn(batch, 3, size, size, device=device)
    sites = find_branches(backbone)
    rates = spread_rates(rate, [site.depth for site in sites])
    sampler, rng = BernoulliSampler(), np.random.default_rng(0)

    def stock() -> None:
        backbone.zero_grad(set_to_none=False)
        backbone(images)[0].mean().backward()

    def cosub(execution: str) -> None:
        backbone.zero_grad(set_to_none=False)
        keep = [sampler(rates, batch, rng) for _ in range(views)]
        plan = Plan.from_keep(np.stack(keep, axis=1), rates)
        outputs, _ = run_submodels(backbone, images, plan, sites, execution)
        outputs[0].mean().backward()

    calls: dict[str, Callable[[], None]] = {'stock': stock}
    calls |= {name: partial(cosub, name) for name in CASES}
    result = compare(calls, rounds)
    for name, call in calls.items():
        work, memory = account(call, draws=3)
        result[name].update(arithmetic=work, peak_memory=memory)
    for key in ('arithmetic', 'peak_memory'):
        stock_value = result['stock'][key]
        for row in result.values():
            row[key] /= stock_value
    return result


def draw(record: dict[str, dict[str, dict]], path: Path) -> None:
    """One column a sweep: time above, memory below."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(record), figsize=(3 * len(record), 5), sharey='row', squeeze=False
    )
    for column, (name, points) in zip(axes.T, record.items(), strict=True):
        places = range(len(points))
        for axis, key in zip(column, ('ratio', 'peak_memory'), strict=True):
            for (case, title), mark in zip(CASES.items(), 'so', strict=True):
                values = [point[case][key] for point in points.values()]
                axis.plot(places, values, marker=mark, markersize=4, label=title)
            if key == 'ratio':
                floor = [p['shared_prefix']['arithmetic'] for p in points.values()]
                axis.plot(places, floor, 'k:', label='arithmetic floor')
            axis.axhline(1, color='gray', linewidth=0.7)
            axis.set_xticks(places, points)
        column[1].set_xlabel(TITLES[name])
    for axis in axes[:, 0]:
        axis.set_ylim(bottom=0)
    axes[0, 0].set_ylabel('step time / plain')
    axes[1, 0].set_ylabel('peak memory / plain')
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='upper center', ncols=3)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(path, dpi=110)
    print(f'Drawn to {path}')


def main() -> None:
    args = parse_args()
    if args.record:
        record = json.loads(args.record.read_text())
    else:
        record = {}
        for name, values in SWEEPS.items():
            record[name] = {}
            for value in values:
                print(f'{TITLES[name]}: {value}')
                point = measure(args.rounds, **{**START, name: value})
                record[name][str(value)] = point
    if args.out:
        write(record, args.out)
    if args.plot:
        draw(record, args.plot)


if __name__ == '__main__':
    main()
