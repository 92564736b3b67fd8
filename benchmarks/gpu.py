"""Steps, images a second, memory and data loading on a GPU.

    python benchmarks/gpu.py

In bfloat16 by autocast, forward and backward. Every group's reference is the stock
model's plain training (or inference); "masked and concatenated" is how cosub's public
code does it. Median and quartiles of the ratio to the reference of the same round, a
new draw of submodels each. Data are loaded as the ADE20K recipe does it, from made JPEG
files. A group that has a record of this GPU and these settings is not measured again,
so the command may be stopped and given again. Writes the record, and a Markdown table
beside it.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from memory import peak_memory
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from models import CLASSIFIER, CONFIGS, SEGMENTORS, Bench, Call
from rich.console import Console
from timing import compare, write

from mmcosub.stack import import_stack_quietly

RESULTS = Path(__file__).parent / 'results'
VIT_B = 'cosub_pretrain/vit-base-p16_cosub_32xb64-90e_in21k-224.py'
DATASET = '_base_/datasets/ade20k_512x512.py'
HALF = torch.bfloat16


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--groups', nargs='+', choices=GROUPS, default=list(GROUPS), metavar='GROUP',
        help=f'of {", ".join(GROUPS)} (default: all)',
    )  # fmt: skip
    parser.add_argument('--batch', type=int, default=8, help='of segmentors')
    parser.add_argument('--size', type=int, default=512, help='of their images')
    parser.add_argument('--images', type=int, default=64, help='of classifiers')
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--workers', type=int, default=8, help='that load data')
    parser.add_argument('--out', type=Path, default=RESULTS / 'gpu.json')
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda')
    return parser.parse_args()


def segmentor(network: str, args: argparse.Namespace) -> dict[str, Call]:
    """Plain training and cosub of a UperNet, as its config has it."""
    bench = Bench(SEGMENTORS[network], args.batch, args.size, HALF, args.device)
    return {
        'plain': bench.step(),
        'plain, fast': bench.step(fast=True),
        'cosub, masked and concatenated': bench.reference(),
        'cosub': bench.step(scheme={}),
        'cosub, fast': bench.step(fast=True, scheme={}),
        'cosub, compiled': bench.step(scheme={}, compiled=True),
    }


def classifier(config: str, rate: float, args: argparse.Namespace) -> dict[str, Call]:
    """Plain training and cosub of a ViT at 224 pixels, and how rows are moved."""
    bench = Bench(config, args.images, 224, HALF, args.device)
    scheme = dict(drop_path_rate=rate, drop_path_decay='constant')
    kept = {**scheme, 'execution': 'kept_rows'}
    return {
        'plain': bench.step(),
        'cosub, masked and concatenated': bench.reference(),
        'cosub, kept rows': bench.step(scheme=kept),
        'cosub': bench.step(scheme=scheme),
        'cosub, compiled': bench.step(scheme=scheme, compiled=True),
    }


def inference(args: argparse.Namespace) -> dict[str, Call]:
    """UperNet-Swin-T."""
    bench = Bench(SEGMENTORS['swin'], args.batch, args.size, HALF, args.device)
    return {'plain': bench.prediction(), 'fast': bench.prediction(fast=True)}


GROUPS = {
    'UperNet-Swin-T': lambda args: segmentor('swin', args),
    'UperNet-ViT-S': lambda args: segmentor('vit', args),
    'UperNet-Swin-T, inference': inference,
    'ViT-B, drop path 0.2': lambda args: classifier(VIT_B, 0.2, args),
    'ViT-S, drop path 0.1': lambda args: classifier(CLASSIFIER, 0.1, args),
    'ViT-S, drop path 0.5': lambda args: classifier(CLASSIFIER, 0.5, args),
}


def measured(group: str, args: argparse.Namespace) -> dict[str, dict]:
    """Ratios, images a second and peak memory of a group's cases."""
    cases = GROUPS[group](args)
    rows = compare(cases, args.rounds, warmup=3)
    images = args.images if group.startswith('ViT') else args.batch
    for name, row in rows.items():
        row['images_per_second'] = images / row['seconds']
        row['peak_gib'] = peak_memory(cases[name]) / 2**30
    return rows


def loaded(args: argparse.Namespace, images: int = 256) -> float:
    """Images a second that the ADE20K pipeline loads."""
    import_stack_quietly()
    init_default_scope('mmseg')
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as root:
        for kind, suffix in (('images', 'jpg'), ('annotations', 'png')):
            folder = Path(root, kind, 'training')
            folder.mkdir(parents=True)
            for i in range(images):
                coarse = rng.integers(0, 150, (16, 22, 3)).astype(np.uint8)
                smooth = cv2.INTER_CUBIC if suffix == 'jpg' else cv2.INTER_NEAREST
                full = cv2.resize(coarse, (683, 512), interpolation=smooth)
                part = full if suffix == 'jpg' else full[..., 0]
                cv2.imwrite(str(folder / f'{i}.{suffix}'), part)
        cfg = Config.fromfile(CONFIGS / DATASET).train_dataloader
        cfg.update(batch_size=args.batch, num_workers=args.workers)
        cfg.persistent_workers = args.workers > 0
        cfg.dataset.data_root = root
        batches = iter(Runner.build_dataloader(cfg, seed=0))
        next(batches)
        start, count = time.perf_counter(), 0
        while count < images:
            count += len(next(batches)['inputs'])
        rate = count / (time.perf_counter() - start)
        del batches
    return rate


def table(record: dict) -> str:
    """The record as Markdown."""
    lines = [
        f'{record["machine"]}, PyTorch {record["torch"]}, bfloat16, segmentors of '
        f'{record["size"]} pixels in batches of {record["batch"]}, classifiers in '
        f'batches of {record["images"]}.',
        '',
        '| | time, to plain | quartiles | images a second | peak memory, GiB |',
        '| --- | --- | --- | --- | --- |',
    ]
    for group, rows in record['groups'].items():
        lines += [
            f'| {group}: {name} | {row["ratio"]:.2f} | {row["low"]:.2f} to '
            f'{row["high"]:.2f} | {row["images_per_second"]:.0f} | '
            f'{row["peak_gib"]:.1f} |'
            for name, row in rows.items()
        ]
    if 'loaded' in record:
        lines += [
            '',
            f'{record["workers"]} workers load {record["loaded"]:.0f} images a second '
            'as the ADE20K recipe does.',
        ]
    return '\n'.join(lines) + '\n'


def main() -> None:
    args = parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        print(
            'No GPU is to be had here (`mmcosub info` says what PyTorch sees), so '
            'nothing was measured.'
        )
        return
    machine = torch.cuda.get_device_name() if args.device == 'cuda' else 'CPU'
    settings = {k: getattr(args, k) for k in ('batch', 'size', 'images', 'workers')}
    record = dict(machine=machine, torch=torch.__version__, **settings)
    before = json.loads(args.out.read_text()) if args.out.is_file() else {}
    if {k: before.get(k) for k in record} == record:
        record = before
    elif before:
        print(f'{args.out} is of another machine or settings and is written anew.')
    groups = record.setdefault('groups', {})
    for group in args.groups:
        if group not in groups:
            print(group)
            groups[group] = measured(group, args)
            write(record, args.out)
    if 'loaded' not in record:
        record['loaded'] = loaded(args)
        write(record, args.out)
    args.out.with_suffix('.md').write_text(table(record))
    Console().print(table(record))


if __name__ == '__main__':
    main()
