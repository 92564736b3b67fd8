"""Time of backbones with stock attention and with the faster one.

    python benchmarks/attention.py --out benchmarks/results/attention.json

A step is forward and backward of the backbone alone, at 512x512, batch 2, without drop
path. Time and peak memory (of tensors besides parameters) are relative to the same
network with stock attention.
"""

import argparse
import copy
from pathlib import Path

import torch
from memory import peak_memory
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from timing import compare, report
from torch import nn

from mmcosub.config.loading import find_config
from mmcosub.fast.attention import accelerate_attention
from mmcosub.stack import import_stack_quietly

CONFIGS = {
    'Swin-T': 'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_'
    'ade20k-512x512.py',
    'ViT-S of mmseg': 'mmseg::vit/vit_deit-s16_upernet_8xb2-160k_ade20k-512x512.py',
    'MiT-B0': 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch', type=int, default=2, help='images a step')
    parser.add_argument('--size', type=int, default=512, help='image size in pixels')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--networks', nargs='+', choices=CONFIGS, default=[*CONFIGS])
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def build(name: str) -> nn.Module:
    config = Config.fromfile(find_config(CONFIGS[name])).model.backbone
    config.update(init_cfg=None, pretrained=None, drop_path_rate=0.0)
    return MODELS.build(config)


def main() -> None:
    args = parse_args()
    import_stack_quietly()
    init_default_scope('mmseg')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    images = torch.randn(args.batch, 3, args.size, args.size, device=device)

    def step(model: nn.Module) -> None:
        model.train()
        model.zero_grad()
        sum(out.mean() for out in model(images)).backward()

    @torch.no_grad()
    def predict(model: nn.Module) -> None:
        model.eval()
        model(images)

    result = {}
    for name in args.networks:
        stock = build(name).to(device)
        fast = copy.deepcopy(stock)
        accelerate_attention(fast)
        for kind, work in (('training', step), ('inference', predict)):
            cases = {
                f'{name}, {kind}, stock': lambda work=work, model=stock: work(model),
                f'{name}, {kind}, fast': lambda work=work, model=fast: work(model),
            }
            measured = compare(cases, args.rounds, warmup=1)
            if kind == 'training':
                peaks = {case: peak_memory(call) for case, call in cases.items()}
                for case, peak in peaks.items():
                    measured[case]['peak_memory'] = peak / peaks[next(iter(cases))]
            result |= measured
    size = f'{args.size}x{args.size}, batch {args.batch}'
    report(f'Attention of backbones at {size}', result, args.out)


if __name__ == '__main__':
    main()
