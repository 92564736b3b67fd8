"""Step time of a UperNet, plain and by cosub, with the stock head and the fast one.

    python benchmarks/segmentor.py --out benchmarks/results/upernet-swin-t.json

A training step is forward and backward at 512x512, batch 2; the optimizer, the same for
all, is left out. The reference is the stock model's plain training. "Masked and
concatenated" is how cosub's public code does it: both views as one batch, every branch
computed for all and masked.
"""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from timing import compare, report

from mmcosub.engine.co_train import accelerated_model, co_trained_model
from mmcosub.stack import import_stack_quietly

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'cosub'
NETWORKS = dict(swin='swin-tiny-patch4-window7', vit='vit-small-p16')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--network', choices=NETWORKS, default='swin')
    parser.add_argument('--batch', type=int, default=2, help='images a step')
    parser.add_argument('--size', type=int, default=512, help='image size in pixels')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_stack_quietly()
    init_default_scope('mmseg')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    name = f'{NETWORKS[args.network]}_upernet-cosub_8xb2-160k_ade20k-512x512.py'
    cfg = Config.fromfile(CONFIGS / name)
    stock = cfg.model
    stock.backbone.img_size = args.size
    for part in (stock.decode_head, stock.auxiliary_head, stock.get('neck') or {}):
        if 'norm_cfg' in part:
            part.norm_cfg = dict(type='BN')  # SyncBN is for several GPUs
    stock.data_preprocessor.size = (args.size, args.size)
    torch.manual_seed(0)
    shape = (args.size, args.size)
    images = torch.randn(args.batch, 3, *shape, device=device)
    meta = dict(img_shape=shape, ori_shape=shape, padding_size=[0] * 4)
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(0, 150, (1, *shape))), metainfo=meta
        ).to(device)
        for _ in range(args.batch)
    ]

    def build(fast: bool, scheme: dict | None = None):
        config = accelerated_model(stock) if fast else dict(stock)
        if scheme is not None:
            config = co_trained_model(config, {**cfg.scheme, **scheme})
        model = MODELS.build(config).to(device)
        model.train()
        return model

    def step(fast: bool, scheme: dict | None = None):
        model = build(fast, scheme)

        def run() -> None:
            model.zero_grad()
            loss, _ = model.parse_losses(model.loss(images, samples))
            loss.backward()

        return run

    def predict(fast: bool):
        model = build(fast)
        model.eval()

        @torch.no_grad()
        def run() -> None:
            model.encode_decode(images, [meta] * args.batch)

        return run

    size = f'{args.size}x{args.size}, batch {args.batch}'
    title = f'UperNet, {NETWORKS[args.network]}, {size}'
    training = {
        'plain, stock head': step(False),
        'plain, fast head': step(True),
        'cosub, masked and concatenated': step(False, dict(execution='plain')),
        'cosub, stock head': step(False, {}),
        'cosub, fast head': step(True, {}),
    }
    result = compare(training, args.rounds, warmup=1)
    inference = {
        'inference, stock head': predict(False),
        'inference, fast head': predict(True),
    }
    result |= compare(inference, args.rounds, warmup=1)
    report(title, result, args.out)


if __name__ == '__main__':
    main()
