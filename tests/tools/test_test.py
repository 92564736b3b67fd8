"""tools/test.py: --tta, --out and --show-dir together, and what bad input gets."""

import copy
import pickle
import re
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import load_tool
from mmengine.config import Config, ConfigDict
from mmengine.registry import HOOKS, MODELS, VISUALIZERS, Registry
from mmseg.visualization import SegLocalVisualizer
from stock import segmentation_config, write_config

from mmcosub.engine.data import configs_of_datasets
from mmcosub.hooks import LabelMapHook

FLAGS = {
    '--help',
    '--work-dir',
    '--out',
    '--show',
    '--show-dir',
    '--wait-time',
    '--tta',
    '--fast',
    '--trust-checkpoint',
    '--debug',
    '--cfg-options',
    '--launcher',
    '--local-rank',
    '--local_rank',
    '--probability-metrics',
}


@pytest.fixture(scope='module')
def trained(
    train: ModuleType, tmp_path_factory: pytest.TempPathFactory, scenes: Path
) -> Iterator[tuple[Path, Path]]:
    """A config file and the checkpoint of a co-trained run of it."""
    root = tmp_path_factory.mktemp('trained')
    path = write_config(root / 'tiny.py', segmentation_config(scenes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', '0')
        train.main([str(path), '--work-dir', str(root / 'w'), '--co-train', 'cosub'])
    return path, root / 'w' / 'iter_4.pth'


def refused(tool: ModuleType, capsys: pytest.CaptureFixture, *argv: object) -> str:
    """What the script says of arguments that it refuses."""
    with pytest.raises(SystemExit) as exit_:
        tool.main([str(a) for a in argv])
    assert exit_.value.code == 2
    return ' '.join(capsys.readouterr().err.split())


def test_flags(test_tool: ModuleType) -> None:
    """A flag that comes or goes is a decision, also about this list."""
    options = test_tool.make_parser()._option_string_actions
    assert {name for name in options if name.startswith('--')} == FLAGS


@pytest.mark.parametrize('listed', [False, True])
@pytest.mark.parametrize('tta', [False, True])
@pytest.mark.sweep(every=3)
def test_everything_together(
    test_tool: ModuleType,
    trained: tuple[Path, Path],
    scenes: Path,
    tmp_path: Path,
    tta: bool,
    listed: bool,
) -> None:
    path, checkpoint = trained
    if listed:
        cfg = segmentation_config(scenes)
        dice = dict(type='IoUMetric', iou_metrics=['mDice'], prefix='dice')
        evaluators = [cfg['val_evaluator'], dice]
        path = write_config(tmp_path / 'a.py', {**cfg, 'test_evaluator': evaluators})
    out, show, work = (tmp_path / name for name in ('out', 'show', 'work'))
    argv = [path, checkpoint, '--work-dir', work, '--out', out, '--show-dir', show]
    flags = ['--probability-metrics', *(['--tta'] * tta)]
    metrics = test_tool.main([*map(str, argv), *flags])
    assert 0 < metrics['NLL'] < 20
    assert {'ECE', 'Brier'} <= metrics.keys()
    assert 0 <= metrics['mIoU'] <= 100
    names = [f'{i}.png' for i in range(4)]
    assert sorted(p.name for p in out.glob('*.png')) == names
    assert len(list(show.glob('**/vis_image/*.png'))) == 4
    said = max(work.glob('*/*.log')).read_text()
    assert f'Predictions are in {out}\n' in said
    assert f'Pictures are in {show}\n' in said
    # What is written is what was measured, in the labels of the files read.
    right = total = 0
    for name in names:
        predicted = cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED)
        label = cv2.imread(
            str(scenes / 'annotations/validation' / name), cv2.IMREAD_UNCHANGED
        )
        right += np.count_nonzero(predicted == label)
        total += label.size
    assert metrics['aAcc'] == pytest.approx(100 * right / total, abs=0.01)


def test_show_and_save(
    test_tool: ModuleType,
    trained: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = []
    monkeypatch.setattr(
        SegLocalVisualizer, 'show', lambda *args, **kw: shown.append(kw['wait_time'])
    )
    argv = [*trained, '--work-dir', tmp_path / 'w', '--show-dir', tmp_path / 'show']
    test_tool.main([*map(str, argv), '--show', '--wait-time', '0.5'])
    assert shown == [0.5] * 4
    assert len(list(tmp_path.glob('show/**/vis_image/*.png'))) == 4


def test_datasets_inside_wrappers() -> None:
    leaves = [dict(pipeline=[i]) for i in range(3)]
    repeated = dict(type='RepeatDataset', dataset=leaves[0])
    cfg = ConfigDict(type='ConcatDataset', datasets=[repeated, *leaves[1:]])
    assert [d.pipeline for d in configs_of_datasets(cfg)] == [[0], [1], [2]]


def test_tta_averages(
    test_tool: ModuleType, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its predictions differ from those of the image as it is."""
    out = [tmp_path / 'plain', tmp_path / 'tta']
    for folder, flags in zip(out, ([], ['--tta']), strict=True):
        argv = [*trained, '--work-dir', tmp_path / 'w', '--out', folder]
        test_tool.main([str(a) for a in argv] + flags)
    plain, averaged = (
        np.stack([cv2.imread(str(f / f'{i}.png'), -1) for i in range(4)]) for f in out
    )
    assert (plain != averaged).any()


def test_fast_predicts_the_same(
    test_tool: ModuleType, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    metrics = []
    for flags in ([], ['--fast']):
        argv = [*trained, '--work-dir', tmp_path / 'w']
        metrics.append(test_tool.main([str(a) for a in argv] + flags))
    assert metrics[0] == pytest.approx(metrics[1], abs=0.1)
    logs = [log.read_text() for log in (tmp_path / 'w').glob('*/*.log')]
    assert sum('BatchNorms folded' in log for log in logs) == 1


def test_leaves_the_config_of_training(
    test_tool: ModuleType, trained: tuple[Path, Path]
) -> None:
    path, checkpoint = trained
    before = (checkpoint.parent / path.name).read_text()
    test_tool.main([str(path), str(checkpoint), '--work-dir', str(checkpoint.parent)])
    assert (checkpoint.parent / path.name).read_text() == before
    assert 'scheme' in before


def test_classification(
    train: ModuleType,
    test_tool: ModuleType,
    classification_config: Path,
    tmp_path: Path,
) -> None:
    train.main([str(classification_config)])
    out, show = tmp_path / 'out.pkl', tmp_path / 'show'
    argv = [classification_config, tmp_path / 'w/epoch_1.pth', '--out', out]
    argv += ['--show-dir', show, '--tta']
    metrics = test_tool.main([str(a) for a in argv])
    assert 0 <= metrics['accuracy/top1'] <= 100
    assert len(list(show.iterdir())) == 4
    assert len(pickle.loads(out.read_bytes())) == 4


def test_missing_checkpoint(
    test_tool: ModuleType, trained: tuple[Path, Path], capsys: pytest.CaptureFixture
) -> None:
    path, checkpoint = trained
    said = refused(test_tool, capsys, path, checkpoint.parent / 'iter_5.pth')
    assert 'No checkpoint file' in said
    assert "['iter_2.pth', 'iter_4.pth']" in said


@pytest.fixture
def changed(trained: tuple[Path, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments to test a checkpoint whose weights are changed."""

    def make(change: Callable[[dict], dict]) -> list[str]:
        path, checkpoint = trained
        saved = torch.load(checkpoint, weights_only=False)
        saved['state_dict'] = change(saved['state_dict'])
        torch.save(saved, tmp_path / 'changed.pth')
        return [str(path), str(tmp_path / 'changed.pth'), '--work-dir', str(tmp_path)]

    return make


def test_unreadable_checkpoint(
    test_tool: ModuleType,
    trained: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    path, checkpoint = trained
    short = tmp_path / 'short.pth'
    short.write_bytes(checkpoint.read_bytes()[:2000])
    said = refused(test_tool, capsys, path, short, '--work-dir', tmp_path)
    assert 'short.pth cannot be read as a checkpoint' in said


def test_other_number_of_classes(
    test_tool: ModuleType,
    trained: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    argv = [*trained, '--work-dir', tmp_path, '--cfg-options']
    said = refused(test_tool, capsys, *argv, 'model.decode_head.channels=4')
    assert 'does not fit the model: size mismatch' in said
    argv += ['model.decode_head.num_classes=7', 'model.auxiliary_head.num_classes=7']
    assert 'has 5 classes, but the model 7' in refused(test_tool, capsys, *argv)


def test_other_model(
    test_tool: ModuleType, changed: Callable, capsys: pytest.CaptureFixture
) -> None:
    argv = changed(lambda state: {f'x.{k}': v for k, v in state.items()})
    assert re.search(r'lacks \d+ of its weights', refused(test_tool, capsys, *argv))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_no_numbers(
    test_tool: ModuleType,
    changed: Callable,
    capsys: pytest.CaptureFixture,
    value: float,
) -> None:
    def spoil(state: dict) -> dict:
        state['backbone.norm0.bias'][0] = value
        return state

    said = refused(test_tool, capsys, *changed(spoil))
    assert 'has 1 weights that are not finite, backbone.norm0.bias' in said


def test_tta_without_pipeline(
    test_tool: ModuleType,
    trained: tuple[Path, Path],
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    cfg = segmentation_config(scenes)
    del cfg['tta_pipeline']
    path = write_config(tmp_path / 'no_tta.py', cfg)
    said = refused(test_tool, capsys, path, trained[1], '--tta')
    assert '--tta needs a `tta_pipeline`' in said


def test_out_of_a_classifier_is_a_file(
    test_tool: ModuleType,
    trained: tuple[Path, Path],
    classification_config: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    argv = [classification_config, trained[1], '--out', 'folder']
    assert 'for a classifier it is a .pkl file' in refused(test_tool, capsys, *argv)


def test_tta_model_goes_by_the_model(
    test_tool: ModuleType, registry_of_theirs: Callable[..., Registry]
) -> None:
    """Whatever the default scope is, and not by a stock name of a user's class."""
    theirs = registry_of_theirs(MODELS)
    theirs.register_module(name='SegTTAModel', module=type('Own', (), {}))
    loader = dict(dataset=dict(pipeline=[]))
    pipeline = [dict(type='A')]
    for scope, tta_model, made in (
        ('theirs', None, 'mmcosub.StreamedSegTTAModel'),
        ('theirs', dict(type='SegTTAModel'), 'SegTTAModel'),
        ('theirs', dict(type='mmseg.SegTTAModel'), 'mmcosub.StreamedSegTTAModel'),
        ('mmseg', dict(type='SegTTAModel'), 'mmcosub.StreamedSegTTAModel'),
    ):
        cfg = Config(dict(default_scope=scope, tta_pipeline=pipeline))
        cfg.model = dict(type='mmseg.EncoderDecoder', decode_head=dict(type='A'))
        cfg.model.data_preprocessor = dict(mean=[1])  # not that of the top level
        cfg.test_dataloader = copy.deepcopy(loader)
        if tta_model:
            cfg.tta_model = tta_model
        test_tool.use_tta(cfg)
        assert cfg.model.type == made
        assert cfg.model.data_preprocessor == dict(mean=[1])
        assert cfg.test_dataloader.dataset.pipeline == pipeline


def test_predictions_of_an_evaluator_around_metrics(test_tool: ModuleType) -> None:
    """MMEngine takes one, too, with a type or without."""
    for kind in ({}, dict(type='Evaluator')):
        cfg = Config(dict(default_scope='mmpretrain', model=dict(head=dict(type='A'))))
        cfg.test_evaluator = dict(metrics=[dict(type='Accuracy')], **kind)
        test_tool.save_predictions(cfg, 'all.pkl')
        assert cfg.test_evaluator.metrics[-1].type == 'DumpResults'
        assert cfg.test_evaluator.get('type') == kind.get('type')


@pytest.mark.parametrize('wrapped', [False, True])
def test_images_of_the_same_name_in_subfolders(
    wrapped: bool,
    test_tool: ModuleType,
    trained: tuple[Path, Path],
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Also of two data sets; a name with two endings is refused before testing."""
    cfg = segmentation_config(scenes)
    dataset = cfg['test_dataloader']['dataset']
    for root in ('one', 'two'):
        for kind in ('images', 'annotations'):
            for folder in 'abc':
                target = tmp_path / root / kind / 'validation' / folder
                shutil.copytree(scenes / kind / 'validation', target)
                for path in target.glob('[123].*'):
                    path.unlink()
    one, two = (
        dict(copy.deepcopy(dataset), data_root=str(tmp_path / root))
        for root in ('one', 'two')
    )
    both = dict(type='ConcatDataset', datasets=[one, two])
    cfg['test_dataloader']['dataset'] = both if wrapped else one
    path = write_config(tmp_path / 'a.py', cfg)
    argv = [path, trained[1], '--work-dir', tmp_path / 'w', '--out', tmp_path / 'out']
    test_tool.main([str(each) for each in argv])
    found = {
        str(p.relative_to(tmp_path / 'out')) for p in tmp_path.glob('out/**/*.png')
    }
    places = [f'{root}/images/validation/' for root in ('one', 'two')]
    names = {f'{place}{f}/0.png' for place in places for f in 'abc'}
    assert found == (names if wrapped else {f'{folder}/0.png' for folder in 'abc'})
    if wrapped:
        hook = LabelMapHook(str(tmp_path))
        paths = [dict(img_path=f'{tmp_path}/x/0.{end}') for end in ('jpg', 'png')]
        dataset = Namespace(get_data_info=paths.__getitem__)
        dataset.__class__ = type('Two', (Namespace,), dict(__len__=lambda self: 2))
        runner: Any = Namespace(test_dataloader=Namespace(dataset=dataset))
        with pytest.raises(
            ValueError, match=r'x/0.png would overwrite .* of .*x/0.jpg'
        ):
            hook.before_test(runner)


@pytest.mark.parametrize('tool', ['test', 'analysis_tools/confusion_matrix'])
def test_labels_that_no_class_has(
    tool: str,
    trained: tuple[Path, Path],
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    shutil.copytree(scenes, tmp_path / 'scenes')
    for path in (tmp_path / 'scenes/annotations/validation').iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), -1) * 50)
    place = f'test_dataloader.dataset.data_root={tmp_path / "scenes"}'
    argv = [*trained, '--work-dir', tmp_path / 'w', '--cfg-options', place]
    said = refused(load_tool(tool), capsys, *argv)
    assert 'annotations/validation/0.png has the values [49, 99' in said


@pytest.mark.parametrize(
    ('head', 'package'), [('decode_head', 'mmseg'), ('head', 'mmpretrain')]
)
def test_pictures_in_a_scope_of_ones_own(
    head: str, package: str, test_tool: ModuleType
) -> None:
    cfg = Config(dict(default_scope='theirs', model={head: {}}))
    test_tool.use_visualization(cfg, Namespace(show=False, show_dir='d', wait_time=0))
    assert cfg.visualizer.type.startswith(package)
    assert VISUALIZERS.get(cfg.visualizer.type)
    assert HOOKS.get(cfg.default_hooks.visualization.type)
