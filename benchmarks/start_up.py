"""Processor time until a command answers, and until a training has done one iteration.

    python benchmarks/start_up.py --out benchmarks/results/start-up.json

Seconds of all processes of a command, one thread: the help texts, ``info``, and one
iteration of a SegFormer on 64x64 images made here, with ``mmcosub train`` and with
MMSegmentation's own ``tools/train.py`` on the same config. Commands take turns.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import mmseg
import numpy as np
from timing import report

UPSTREAM = Path(mmseg.__file__).parent / '.mim'
MMCOSUB = [sys.executable, '-m', 'mmcosub']
CONFIG = """
_base_ = '{upstream}/configs/segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'
crop_size = (64, 64)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(init_cfg=None),
    decode_head=dict(norm_cfg=dict(type='BN')),
)
data = dict(batch_size=2, num_workers=0, persistent_workers=False)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(**data, dataset=dict(data_root={root!r}, pipeline=pipeline))
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
train_cfg = dict(max_iters=1, val_interval=100)
"""


def make_data(root: Path) -> None:
    """Write four images with label maps, laid out as ADE20K is."""
    rng = np.random.default_rng(0)
    for kind, ending in (('images', 'jpg'), ('annotations', 'png')):
        folder = root / kind / 'training'
        folder.mkdir(parents=True)
        for i in range(4):
            shape = (64, 64, 3) if kind == 'images' else (64, 64)
            array = rng.integers(0, 150, shape).astype(np.uint8)
            cv2.imwrite(str(folder / f'{i}.{ending}'), array)


def seconds(command: list[str], folder: Path) -> float:
    """Processor time of a command and of all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder / 'data')
        config = folder / 'config.py'
        config.write_text(CONFIG.format(root=str(folder / 'data'), upstream=UPSTREAM))
        train = ['train', str(config), '--work-dir']
        cases = {
            "MMSegmentation's tools/train.py": [
                sys.executable, str(UPSTREAM / 'tools' / 'train.py'),
                str(config), '--work-dir', 'upstream',
            ],
            'train': [*MMCOSUB, *train, 'baseline'],
            'train --co-train cosub': [
                *MMCOSUB, *train, 'cosub', '--co-train', 'cosub',
            ],
            'info': [*MMCOSUB, 'info'],
            'train --help': [*MMCOSUB, 'train', '--help'],
            '--help': [*MMCOSUB, '--help'],
        }  # fmt: skip
        times: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(args.rounds):
            for case, command in cases.items():
                times[case].append(seconds(command, folder))
    first = np.array(next(iter(times.values())))
    result = {}
    for case, values in times.items():
        low, ratio, high = np.percentile(np.array(values) / first, [25, 50, 75])
        result[case] = dict(
            ratio=ratio, low=low, high=high, seconds=float(np.median(values))
        )
        print(f'{case}: {result[case]["seconds"]:.2f} s')
    report(__doc__.splitlines()[0], result, args.out)


if __name__ == '__main__':
    main()
