#!/usr/bin/env python
"""Test a checkpoint: metrics, predictions as files, pictures."""

import argparse
import copy
from collections.abc import Sequence

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from mmcosub.arguments import OneLineParser, add_common_arguments, add_shared_arguments
from mmcosub.checkpoints import require_file
from mmcosub.config.errors import explained_errors, in_one_line
from mmcosub.config.loading import load_config, part_processes
from mmcosub.config.model_settings import classifies
from mmcosub.engine import EvaluationRunner
from mmcosub.engine.data import configs_of_datasets
from mmcosub.names import type_name
from mmcosub.stack import import_stack_quietly

# Visualizer and hook for configs without.
OF_SEGMENTORS = ('mmseg.SegLocalVisualizer', 'mmseg.SegVisualizationHook')
OF_CLASSIFIERS = ('mmpretrain.UniversalVisualizer', 'mmpretrain.VisualizationHook')


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        description='Test a model of MMSegmentation or MMPretrain. A co-trained '
        'checkpoint is tested as the upstream model that it is.'
    )
    add_shared_arguments(parser, 'config', 'checkpoint')
    parser.add_argument(
        '--out',
        metavar='PATH',
        help='save predictions: a folder of label maps (.png) for segmentation, a '
        'file (.pkl) for classification',
    )
    parser.add_argument(
        '--show', action='store_true', help='show predictions in a window'
    )
    parser.add_argument(
        '--show-dir', metavar='DIR', help='save pictures of predictions in DIR'
    )
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        metavar='SECONDS',
        help='time for which --show shows each (default: 2)',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: average the predictions of the config's "
        'tta_pipeline, usually several scales and flips',
    )
    add_shared_arguments(parser, '--probability-metrics')
    add_common_arguments(parser)
    return parser


def use_tta(cfg: Config) -> None:
    """Wrap the pipeline and the model in test-time augmentation."""
    if 'tta_pipeline' not in cfg:
        if not classifies(cfg):
            raise ValueError(
                '--tta needs a `tta_pipeline` in the config, such as\n'
                "tta_pipeline = [dict(type='LoadImageFromFile'), dict(\n"
                "    type='TestTimeAug', transforms=[\n"
                "        [dict(type='Resize', scale_factor=r, keep_ratio=True)\n"
                '         for r in (0.75, 1.0, 1.25)],\n'
                "        [dict(type='RandomFlip', prob=p, direction='horizontal')\n"
                '         for p in (0., 1.)],\n'
                "        [dict(type='LoadAnnotations')],\n"
                "        [dict(type='PackSegInputs')]])]"
            )
        pipeline = copy.deepcopy(
            next(configs_of_datasets(cfg.test_dataloader.dataset)).pipeline
        )
        flips = [dict(type='RandomFlip', prob=p) for p in (0.0, 1.0)]
        pipeline[-1] = dict(type='TestTimeAug', transforms=[flips, [pipeline[-1]]])
        cfg.tta_pipeline = pipeline
    average = (
        'mmpretrain.AverageClsScoreTTA' if classifies(cfg) else 'mmseg.SegTTAModel'
    )
    for dataset in configs_of_datasets(cfg.test_dataloader.dataset):
        dataset.pipeline = cfg.tta_pipeline
    model = ConfigDict({**cfg.get('tta_model', {'type': average})}, module=cfg.model)
    if own := cfg.model.get('data_preprocessor'):
        # MMEngine gives the module the one of the config's top level instead.
        model.data_preprocessor = own
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        if type_name(model, MODELS) == 'SegTTAModel':
            model.type = 'mmcosub.StreamedSegTTAModel'  # the same in less memory
    cfg.model = model


def save_predictions(cfg: Config, out: str) -> None:
    """Write the predictions, too."""
    if not classifies(cfg):
        hook = dict(type='mmcosub.LabelMapHook', out=out)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), hook]
        return
    if not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out {out}: for a classifier it is a .pkl file.')
    given = cfg.test_evaluator
    # One metric, several, or an evaluator around them.
    around = given if isinstance(given, dict) and 'metrics' in given else None
    given = given if around is None else around.metrics
    metrics = list(given) if isinstance(given, list | tuple) else [given]
    metrics.append(dict(type='DumpResults', out_file_path=out))
    cfg.test_evaluator = metrics if around is None else {**around, 'metrics': metrics}


def use_visualization(cfg: Config, args: argparse.Namespace) -> None:
    """Turn on drawing, with a visualizer and a hook if the config has none."""
    is_classifier = classifies(cfg)
    visualizer, kind = OF_CLASSIFIERS if is_classifier else OF_SEGMENTORS
    cfg.setdefault('default_hooks', ConfigDict())
    hook = cfg.default_hooks.setdefault('visualization', ConfigDict(type=kind))
    if not cfg.get('visualizer'):
        cfg.visualizer = dict(type=visualizer)
    if not cfg.visualizer.get('vis_backends'):
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    hook.update(show=args.show, wait_time=args.wait_time)
    if not is_classifier:
        hook.update(draw=True, interval=1)
        if args.show_dir:
            cfg.visualizer.save_dir = args.show_dir
            # With `show` set now, it would not save: see main().
            hook.show = False
    else:
        hook.update(enable=True, interval=1, out_dir=args.show_dir)
        if type_name(hook) == 'VisualizationHook':
            hook.type = 'mmcosub.TTAVisualizationHook'


def main(argv: Sequence[str] | None = None) -> dict:
    parser = make_parser()
    args = parser.parse_args(argv)
    with explained_errors(parser.prog, args.debug):
        require_file(args.checkpoint)
        cfg = load_config(args)
        cfg.load_from, cfg.resume = args.checkpoint, False
        import_stack_quietly()
        from mmcosub.datasets.labels import BadSampleError

        if args.tta:
            use_tta(cfg)
        if args.out:
            save_predictions(cfg, args.out)
        if args.show or args.show_dir:
            use_visualization(cfg, args)
        runner = EvaluationRunner.from_cfg(cfg)
        if args.show_dir and runner.distributed:
            runner.logger.warning(
                'MMEngine draws in the first process alone, so --show-dir gets no '
                'pictures of the images of the others. For all, use one process.'
            )
        for hook in runner._hooks:
            if hasattr(hook, 'show'):
                hook.show = args.show
        try:
            metrics = runner.test()
        except (FileNotFoundError, KeyError, BadSampleError) as error:
            cause = error.__cause__ if isinstance(error, BadSampleError) else error
            absent = isinstance(cause, FileNotFoundError | KeyError)
            if not (absent and any(x in str(cause) for x in ('seg_map', 'label'))):
                raise
            raise ValueError(
                f'{in_one_line(error)} To predict images without labels: mmcosub '
                'predict CONFIG CHECKPOINT IMAGES --out DIR.'
            ) from error
        for kind, place in (('Predictions', args.out), ('Pictures', args.show_dir)):
            if place:
                runner.logger.info(f'{kind} are in {place}')
        del runner, hook  # and with them references to the other processes
        part_processes()
    return metrics


if __name__ == '__main__':
    main()
