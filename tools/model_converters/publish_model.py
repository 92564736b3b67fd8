#!/usr/bin/env python
"""Write only the weights of a checkpoint, for MMEngine or the Hugging Face Hub."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmcosub.arguments import OneLineParser, add_config_arguments
from mmcosub.checkpoints import publish
from mmcosub.config.errors import explained_errors
from mmcosub.config.loading import load_config
from mmcosub.stack import import_stack_quietly


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    parser.add_argument('in_file', help='checkpoint of a run')
    parser.add_argument(
        'out_file', help='NAME.pth, which becomes NAME-HASH.pth, or the folder to write'
    )
    parser.add_argument(
        '--to',
        choices=('pth', 'hf-folder'),
        default='pth',
        help='pth: for MMSegmentation and MMPretrain; hf-folder: config.json, '
        'model.safetensors and README.md, for timm (ViT, Swin, ConvNeXt and ResNet '
        'classifiers) or Transformers (UPerNet on Swin or ConvNeXt) (default: pth)',
    )
    parser.add_argument(
        '--config',
        help='with --to hf-folder: config of the run (default: the only one beside '
        'the checkpoint)',
    )
    parser.add_argument(
        '--no-ema',
        action='store_true',
        help='for a run with EMAHook: the trained weights instead of their average',
    )
    add_config_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        if args.to == 'pth':
            written = publish(args.in_file, args.out_file, not args.no_ema)
            print(f'Wrote {written}')
            return
        args.config = args.config or config_beside(args.in_file)
        cfg = load_config(args)
        import_stack_quietly()
        from mmcosub.export.hf_folder import write_hf_folder

        out = Path(args.out_file)
        difference = write_hf_folder(cfg, args.in_file, out, not args.no_ema)
    print(f'Wrote {out}. Its logits differ by at most {difference:.0e}.')


def config_beside(checkpoint: str) -> str:
    """Return the only config in the folder of a checkpoint.

    Raises:
        ValueError: If there is none, or several.
    """
    found = sorted(Path(checkpoint).parent.glob('*.py'))
    if len(found) != 1:
        raise ValueError(
            f'{len(found)} configs are beside {checkpoint}: name that of the run with '
            '--config.'
        )
    return str(found[0])


if __name__ == '__main__':
    main()
