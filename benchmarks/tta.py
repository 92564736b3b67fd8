"""Memory and time of test-time augmentation, beside mmseg's own.

    python benchmarks/tta.py --out benchmarks/results/tta.json

One photograph of ADE20K's median size, by UperNet-Swin-T, random weights, 150 classes:
the 12 versions of its recipe (six scales, flipped and not). Peak memory is of tensors,
besides weights and images.
"""

import argparse
from pathlib import Path

import torch
from memory import peak_memory
from mmseg.structures import SegDataSample
from models import SEGMENTORS, Bench, Call
from timing import compare, report

from mmcosub.registry import MODELS

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--size', type=int, nargs=2, default=(512, 683), help='height and width'
    )
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def versions(size: tuple[int, int]) -> dict[str, list]:
    """A batch of one image as ``TestTimeAug`` makes it.

    Args:
        size (tuple[int, int]): Its height and width.
    """
    inputs, samples = [], []
    for scale in SCALES:
        shape = tuple(round(scale * side) for side in size)
        for flip in (False, True):
            meta = dict(ori_shape=size, img_shape=shape, img_path='image.jpg')
            meta |= dict(flip=flip, flip_direction='horizontal')
            inputs.append([torch.randint(256, (3, *shape)).byte()])
            samples.append([SegDataSample(metainfo=meta)])
    return dict(inputs=inputs, data_samples=samples)


def main() -> None:
    args = parse_args()
    bench = Bench(SEGMENTORS['swin'], batch=1, size=512)
    module = bench.build().eval()

    def prediction(kind: str) -> Call:
        model = MODELS.build(dict(type=kind, module=module))

        @torch.no_grad()
        def run() -> None:
            torch.manual_seed(0)
            model.test_step(versions(tuple(args.size)))

        return run

    cases = {
        'mmseg: all versions held': prediction('mmseg.SegTTAModel'),
        'one version at a time': prediction('mmcosub.StreamedSegTTAModel'),
    }
    memory = {name: peak_memory(case) for name, case in cases.items()}
    first = next(iter(memory.values()))
    result = compare(cases, args.rounds, warmup=1)
    for name, row in result.items():
        row.update(peak_memory=memory[name] / first, peak_bytes=memory[name])
    height, width = args.size
    report(f'Test-time augmentation, {height}x{width}', result, args.out)


if __name__ == '__main__':
    main()
