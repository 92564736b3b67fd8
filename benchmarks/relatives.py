"""Step time and memory of cosub's relatives on a classifier, against plain training.

    python benchmarks/relatives.py --out benchmarks/results/relatives-vit-s.json

A step is forward and backward of a ViT-S at 224 pixels, batch 16, with drop path 0.1 as
in its recipe, for plain training, too; the optimizer, the same for all, is left out.
"""

import argparse

import torch
from memory import peak_memory
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from timing import add_timing_arguments, clock_of, compare, report

from mmcosub.config.co_train import co_trained_model
from mmcosub.stack import import_stack_quietly

SCHEMES = {
    'AugMask 0.5': dict(type='AugMask'),
    'AugPath 0.5': dict(type='AugPath'),
    'AugDrop 0.5': dict(type='AugDrop'),
    'stimulative': dict(type='Stimulative'),
    'group knowledge, 2 x 2': dict(type='GroupKnowledge'),
    'stochastic depth': dict(type='StochasticDepth'),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--arch', default='deit-small', help="MMPretrain's ViT size")
    parser.add_argument('--batch', type=int, default=16, help='images a step')
    parser.add_argument('--size', type=int, default=224, help='image size in pixels')
    parser.add_argument(
        '--schemes', nargs='+', choices=SCHEMES, default=list(SCHEMES), metavar='NAME'
    )
    parser.add_argument('--rounds', type=int, default=5)
    add_timing_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_stack_quietly()
    init_default_scope('mmpretrain')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    widths = {'deit-tiny': 192, 'deit-small': 384, 'deit-base': 768}
    cfg = dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch=args.arch,
            img_size=args.size,
            layer_cfgs=dict(drop_path_rate=0.1),
        ),
        head=dict(
            type='LinearClsHead', num_classes=1000, in_channels=widths[args.arch]
        ),
    )
    images = torch.randn(args.batch, 3, args.size, args.size, device=device)
    samples = [DataSample().set_gt_label(i).to(device) for i in range(args.batch)]

    def step(scheme: dict | None):
        torch.manual_seed(0)
        config = co_trained_model(cfg, scheme) if scheme else cfg
        model = MODELS.build(config).to(device)
        model.train()
        model.data_preprocessor.forward = lambda data, training: data
        # Gradients only: they are zeroed, and nothing is updated.
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
        wrapper.step = lambda **kwargs: None
        data = dict(inputs=images, data_samples=samples)
        return lambda: model.train_step(data, wrapper)

    cases = {'plain training': step(None)}
    cases |= {name: step(SCHEMES[name]) for name in args.schemes}
    title = f'{args.arch} at {args.size} pixels, batch {args.batch}, forward + backward'
    if args.processor_time:
        title = f'{title}, processor time'
    result = compare(cases, args.rounds, warmup=1, clock=clock_of(args))

    lean = {
        f'{name}, lean': step({**SCHEMES[name], 'lean': True})
        for name in ('AugMask 0.5', 'AugPath 0.5', 'group knowledge, 2 x 2')
        if name in args.schemes
    }
    for case in lean.values():
        case()
    peaks = {name: peak_memory(case) for name, case in (cases | lean).items()}
    for name, peak in peaks.items():
        row = result.setdefault(name, {})
        row['peak_memory'] = peak / peaks['plain training']
    report(title, result, args.out)


if __name__ == '__main__':
    main()
