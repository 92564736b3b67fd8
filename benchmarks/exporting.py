"""Which upstream models export to which format; writes docs/exporting.md.

    python benchmarks/exporting.py --out benchmarks/results/exporting.json

A config of each group in the sample is built with random weights and exported at a
small size, one process a file. What the record has is not done again.
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from compatibility.campaign import apart
from compatibility.stock import Case
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from mmcosub.stack import import_stack_quietly

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'exporting.md'
SHAPES = {'mmseg': (128, 128), 'mmpretrain': (224, 224)}
SAMPLE = {
    'mmseg': [
        'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
        'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
        'hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024.py',
        'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
        'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py',
        'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py',
    ],
    'mmpretrain': [
        'resnet/resnet18_8xb32_in1k.py',
        'deit/deit-tiny_4xb256_in1k.py',
        'swin_transformer/swin-tiny_16xb64_in1k.py',
        'convnext/convnext-tiny_32xb128_in1k.py',
        'mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py',
    ],
}
FORMATS = ('torchscript', 'pt2', 'onnx')
HEAD = """\
# Exporting

<!-- Written by `python benchmarks/exporting.py --out
benchmarks/results/exporting.json`. -->

`mmcosub export` writes a model to a file that runs without MMSegmentation and
MMPretrain: from an image to the class of each pixel at the image's size, or to the
probabilities of a classifier.

```bash
mmcosub export CONFIG CHECKPOINT --format onnx --shape 512 512 --with-preprocessing
mmcosub export CONFIG CHECKPOINT --format pt2 --dynamic
```

- **In the file**: padding, the network, sliding windows (as one batch), resizing of
  logits, classes or probabilities; with `--with-preprocessing` also normalisation.
  Resizing and cropping of the test pipeline stay outside, so classes have the size of
  the resized image. (`mmcosub predict` resizes logits: some pixels at borders differ.)
- **Beside the file**: a page, `FILE.md`, with its input, output and classes, the steps
  that stay outside, and the lines of Python that run it.
- **Size**: the file takes one image of `--shape`, by default the config's crop or image
  size. `--dynamic` leaves the number of images, height and width open, `--dynamic
  batch` only the number. Swin and sliding windows need one file for each size.
- **Checked**: the file's outputs are compared with those of the MMSegmentation or
  MMPretrain model on noise. If they differ, nothing is written.
- **Needed**: nothing more for `torchscript` and `pt2`; `pip install onnx onnxscript
  onnxruntime` for `onnx`.

The table is a sample: {count} upstream configs of different groups, with random
weights, images of 128 × 128 (MMSegmentation) and 224 × 224 (MMPretrain), PyTorch
{torch}, on a CPU. A cell has the fraction of pixels with the same class as upstream, or
the largest difference of probabilities. A dash is a format that failed; the reason is
in the [record](../benchmarks/results/exporting.json).

| config | torchscript | pt2 | onnx |
| --- | --- | --- | --- |
"""


def attempt(work: tuple[Case, str]) -> dict:
    """Export one model to one format."""
    case, kind = work
    from mmcosub.export import SUFFIXES, export
    from mmcosub.registry import MODELS

    try:
        init_default_scope(case.package)
        torch.manual_seed(0)
        model: Any = MODELS.build(case.model())
        model.eval()
        model.cfg = Config(ConfigDict(model=case.model()))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f'model{SUFFIXES[kind]}')
            return dict(parity=export(model, path, kind, SHAPES[case.package]).parity)
    except Exception as error:  # whatever it is belongs in the record
        return dict(error=str(error).splitlines()[0])


def cell(entry: dict | None) -> str:
    """What the table says of one file."""
    parity = (entry or {}).get('parity')
    if not parity:
        return '–' if entry else 'not run'
    return parity.split()[0] if '%' in parity else parity.split()[-1]


def page(record: dict) -> str:
    """The whole page."""
    lines = [
        f'| `{name}` | {" | ".join(cell(done.get(kind)) for kind in FORMATS)} |\n'
        for name, done in record.items()
    ]
    version = torch.__version__.partition('+')[0]
    return HEAD.format(count=len(record), torch=version) + ''.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='JSON file to go on with'
    )
    parser.add_argument('--seconds', type=int, default=300, help='limit of a file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    import_stack_quietly()
    record = json.loads(args.out.read_text()) if args.out.is_file() else {}
    for kind in FORMATS:
        for package, names in SAMPLE.items():
            for name in names:
                done = record.setdefault(f'{package}::{name}', {})
                if kind not in done:
                    case = Case(package, name.split('/')[0], name)
                    found = apart(attempt, (case, kind), args.seconds)
                    done[kind] = found or dict(error='out of time or memory')
                    print(name, kind, done[kind], flush=True)
                args.out.write_text(json.dumps(record, indent=1) + '\n')
                PAGE.write_text(page(record))


if __name__ == '__main__':
    main()
