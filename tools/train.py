#!/usr/bin/env python
"""Train a segmentor or classifier, as its config says or co-trained."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.names import RUNNER, list_schemes

# All else is imported when it is needed, so that --help waits for neither torch nor
# MMEngine.
if TYPE_CHECKING:
    from mmengine.config import Config

FLEXIBLE = 'FlexibleRunner'
LATEST = 'latest'


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Train a model of MMSegmentation or MMPretrain. Any upstream '
        'config works; --co-train adds submodel co-training.',
        epilog='Example: mmcosub train mmseg::swin/'
        'swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py '
        '--co-train cosub --cfg-options scheme.weight=0.3',
    )
    add_shared_arguments(parser, 'config')
    parser.add_argument(
        '--co-train',
        metavar='NAME_OR_FILE',
        help=f'co-train with this scheme: {", ".join(list_schemes())}, or a .py file '
        'with `scheme = dict(type=...)`',
    )
    parser.add_argument(
        '--unlabelled',
        metavar='DIR_OR_LIST',
        help='with --co-train: also learn from the images in this folder (or in a text '
        'file with one path per line), which need no labels',
    )
    parser.add_argument(
        '--backbone',
        metavar='CHECKPOINT',
        help="load the backbone from this checkpoint: a pretraining run's, or one of "
        "timm, mmpretrain, mmseg or the architecture's authors",
    )
    parser.add_argument(
        '--backbone-weights',
        metavar='ema|model|NAME',
        help='with --backbone: which of several sets of weights in the checkpoint, '
        'averaged, trained, or by name (default: averaged if there is such)',
    )
    parser.add_argument(
        '--backbone-allow-unused',
        nargs='+',
        metavar='NAME',
        help='with --backbone: modules of the checkpoint that the model may lack, such '
        "as 'layer3.*'",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const=LATEST,
        metavar='CHECKPOINT',
        help='continue from CHECKPOINT or, without one, from the newest complete one '
        'in the work directory (from the start if there is none yet)',
    )
    parser.add_argument(
        '--allow-changes',
        action='store_true',
        help='with --resume: continue even if scheme, seed or batch size differ from '
        "the checkpoint's; differences are printed",
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16 with loss scaling on a GPU, bfloat16 '
        'without one',
    )
    length = parser.add_mutually_exclusive_group()
    for name in ('iters', 'epochs'):
        length.add_argument(
            f'--max-{name}',
            type=int,
            metavar='N',
            help=f'train for N {"iterations" if name == "iters" else name}; schedules '
            'of the learning rate and intervals of validation and checkpoints are '
            'scaled accordingly',
        )
    add_shared_arguments(parser, '--probability-metrics')
    parser.add_argument(
        '--skip-checks',
        action='store_true',
        help='skip two checks before training: validation on one batch, and comparing '
        'the submodel of all branches with the network',
    )
    add_common_arguments(parser)
    return parser


def use_amp(cfg: 'Config') -> None:
    """Make the config's optimizer wrapper one for mixed precision."""
    from mmcosub.names import type_name

    wrapper = cfg.optim_wrapper
    kind = type_name(wrapper) or 'OptimWrapper'
    if kind == 'AmpOptimWrapper':
        return
    if kind != 'OptimWrapper':
        raise ValueError(
            f'--amp does not go with optim_wrapper.type={kind!r}: it replaces '
            "'OptimWrapper' by 'AmpOptimWrapper'. Set mixed precision in the config."
        )
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def use_backbone(cfg: 'Config', args: argparse.Namespace) -> None:
    """Set the checkpoint that the backbone starts from, and how."""
    from mmengine.config import Config

    from mmcosub.checkpoints import require_file
    from mmcosub.names import type_name

    options = dict(
        weights=args.backbone_weights, allow_unused=args.backbone_allow_unused
    )
    options = {key: value for key, value in options.items() if value}
    if not args.backbone:
        if options:
            raise ValueError(
                f'--backbone-{next(iter(options)).replace("_", "-")} goes with '
                '--backbone CHECKPOINT, which is not given.'
            )
        return
    is_timm = type_name(cfg.model) == 'TimmClassifier'  # with the head in its network
    if 'backbone' not in cfg.model and not is_timm:
        raise ValueError(f'--backbone: a {cfg.model.type} has no backbone.')
    require_file(args.backbone)
    owner = cfg.model if is_timm else cfg.model.backbone
    init = dict(type='Pretrained', checkpoint=args.backbone)
    # A prefix in the config belongs to another file; one of the command line does not.
    given = Config()
    given.merge_from_dict(args.cfg_options or {})
    given = given.get('model', {})
    given = given if is_timm else given.get('backbone', {})
    if prefix := (given.get('init_cfg') or {}).get('prefix'):
        init['prefix'] = prefix
    owner.init_cfg = init
    for each in (cfg.model, owner):
        each.pop('pretrained', None)  # another checkpoint, perhaps a download
    if options:
        cfg.carry_over = {**(cfg.get('carry_over') or {}), **options}


def use_resume(cfg: 'Config', resume: str) -> None:
    """Set what to resume from: a file, or the newest in the work directory."""
    from mmcosub.checkpoints import checkpoints_in, require_file
    from mmcosub.checkpoints.latest import remote_checkpoint

    if resume != LATEST:
        require_file(resume)
        cfg.resume, cfg.load_from = True, resume
    elif checkpoints_in(cfg.work_dir) or remote_checkpoint(cfg.work_dir):
        cfg.resume, cfg.load_from = True, None  # the newest complete one
    else:
        # `load_from` stays what it was: weights to start from, not a run to continue.
        cfg.resume = False


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)

    from mmengine.dist import is_main_process
    from mmengine.registry import RUNNERS

    from mmcosub.config.errors import explained_errors
    from mmcosub.config.loading import load_config, part_processes
    from mmcosub.engine import CoTrainingFlexibleRunner, CoTrainingRunner
    from mmcosub.engine.screen import closing_line
    from mmcosub.resuming.stopping import Stopped

    with explained_errors(parser.prog, args.debug):
        cfg = load_config(args)
        if args.amp:
            use_amp(cfg)
        use_backbone(cfg, args)
        if args.resume:
            use_resume(cfg, args.resume)
        if args.allow_changes:
            cfg.allow_changes = True
        if args.skip_checks:
            cfg.skip_checks = True
        kind = cfg.get('runner_type', 'Runner')
        if cfg.get('strategy') and kind in ('Runner', RUNNER):
            kind = FLEXIBLE  # the only one with strategies
        if cfg.get('scheme') and kind not in (RUNNER, FLEXIBLE):
            raise ValueError(
                f'runner_type={kind!r} cannot train by a scheme: use {RUNNER!r}, or '
                f'{FLEXIBLE!r} with a strategy.'
            )
        cfg.setdefault('env_cfg', {})  # which FlexibleRunner cannot do without
        # Our runners also for upstream configs; others as the config names them.
        ours = {
            'Runner': CoTrainingRunner,
            RUNNER: CoTrainingRunner,
            FLEXIBLE: CoTrainingFlexibleRunner,
        }
        runner = ours[kind].from_cfg(cfg) if kind in ours else RUNNERS.build(cfg)
        try:
            runner.train()
        except Stopped as stopped:
            print(stopped, flush=True)
            part_processes()
            raise
        if is_main_process():
            print(closing_line(runner, args.config), flush=True)
        del runner  # and with it references to the other processes
        part_processes()


if __name__ == '__main__':
    main()
