"""Which stock configs co-train, and whether they compute what they should.

    python -m benchmarks.compatibility --out benchmarks/results/compatibility.json

Every stock config of mmseg, every classifier of mmpretrain, and a network of every file
of timm that drops paths is built as a model that cosub trains, without memory for
weights. Of every group (folder of configs, file of timm) the smallest is then trained
for a step at reduced size: with rate 0 and weight 0 its losses and gradients have to be
the stock model's, and a step of cosub has to move it. The record is written after each
model; what it has is not done again. ``python docs/compatibility.py`` makes the page.

MaskFormer and Mask2Former need ``onedl-mmdetection``. Heads that take from MMCV what is
Python over torch are built without its compiled operators.
"""

import argparse
from pathlib import Path

from .operators import stand_in


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='JSON file to go on with'
    )
    parser.add_argument(
        '--packages', nargs='+', default=['mmseg', 'timm', 'mmpretrain']
    )
    parser.add_argument('--groups', nargs='+', help='only these')
    parser.add_argument('--again', nargs='+', help='groups to do again')
    parser.add_argument(
        '--refused-again', action='store_true', help='and whatever was not accepted'
    )
    parser.add_argument('--seconds', type=int, default=900, help='limit of a model')
    parser.add_argument('--only-build', action='store_true', help='no steps')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    stand_in()
    from .campaign import run  # imports MMSegmentation

    run(args)


if __name__ == '__main__':
    main()
