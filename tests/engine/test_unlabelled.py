"""Unlabelled images in whole runs: batches, resuming, bad input."""

import json
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.engine.hooks import SwitchRecipeHook
from stock import segmentation_config

from mmcosub.datasets.guard import BadSamples
from mmcosub.datasets.unlabelled import (
    PackWeakAndStrong,
    StrongColours,
    UnlabelledImages,
    find_images,
    weak_and_strong,
)
from mmcosub.engine.unlabelled import (
    UnlabelledOrder,
    WithUnlabelled,
    unlabelled_dataset,
)
from mmcosub.schemes.unlabelled import IMAGE


def test_every_image_once_before_any_again_over_all_processes() -> None:
    orders = [UnlabelledOrder(10, 3, seed=0, rank=r, world=2) for r in range(2)]
    seen = [n for t in range(5) for order in orders for n in order(t)]
    assert Counter(seen[:10]) == Counter(range(10))
    assert Counter(seen) == Counter(list(range(10)) * 3)
    assert seen[:10] != seen[10:20]
    assert orders[1](3) == UnlabelledOrder(10, 3, seed=0, rank=1, world=2)(3)


def logged(work_dir: Path) -> dict[int, dict]:
    lines = [
        json.loads(line)
        for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in log.read_text().splitlines()
    ]
    return {line['step']: line for line in lines if 'loss' in line}


@pytest.fixture
def arguments(config: Path, scenes: Path) -> list[str]:
    options = [
        *('train_cfg.max_iters=4', 'train_cfg.val_interval=4'),
        *('default_hooks.checkpoint.interval=2', 'default_hooks.logger.interval=1'),
        *('unlabelled.batch_size=3', 'log_processor.window_size=1'),
    ]
    images = str(scenes / 'images')
    return [
        *(str(config), '--co-train', 'cosub', '--unlabelled', images),
        *('--cfg-options', 'scheme.drop_path_rate=0.3', *options),
    ]


def test_resumed_runs_draw_the_same(
    train: ModuleType, arguments: list[str], tmp_path: Path
) -> None:
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    train.main([*arguments, '--work-dir', str(whole)])
    workers = ['train_dataloader.num_workers=2']
    train.main([*arguments, *workers, '--work-dir', str(resumed)])
    (resumed / 'iter_4.pth').unlink()
    (resumed / 'last_checkpoint').write_text(str(resumed / 'iter_2.pth'))
    train.main([*arguments, '--work-dir', str(resumed), '--resume'])
    expected, got = logged(whole), logged(resumed)
    assert set(expected) == set(got) == {1, 2, 3, 4}
    for number, line in expected.items():
        for key in ('loss', 'loss_unlabelled', 'unlabelled_agreement'):
            assert line[key] == got[number][key], (number, key)


def test_unlabelled_images_cannot_join_a_run_that_began_without(
    train: ModuleType,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    argv = [*arguments, '--work-dir', str(tmp_path / 'w')]
    at = argv.index('--unlabelled')
    labelled = [*argv[:at], *argv[at + 2 :]]
    train.main([each for each in labelled if not each.startswith('unlabelled')])
    with pytest.raises(SystemExit):
        train.main([*argv, '--resume', '--allow-changes'])
    said = ' '.join(capsys.readouterr().err.split())
    assert 'only one of the runs has unlabelled images' in said


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (['unlabelled.batch_size=0'], 'unlabelled.batch_size=0'),
        (['unlabelled.students=half'], 'complementary'),
        (['unlabelled.treshold=0.9'], "Did you mean 'threshold'"),
        (['unlabelled.cutmix=yes'], "cutmix must be True or False, not 'yes'"),
        (['unlabelled.data_root=/nowhere'], '/nowhere'),
        (['unlabelled.data_root=[a,b]'], "not ['a', 'b']"),
        (['unlabelled.strong=ColorJitter'], 'unlabelled.strong must be a list'),
        (['scheme=None'], '--co-train cosub'),
    ],
)
def test_bad_input(
    train: ModuleType,
    arguments: list[str],
    changes: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit) as exit_:
        train.main([*arguments, *changes, '--work-dir', str(tmp_path / 'w')])
    assert exit_.value.code == 2
    assert said in ' '.join(capsys.readouterr().err.split())


def test_folders_and_lists(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='has no image'):
        find_images(str(tmp_path))
    for name in ('b.JPG', 'inner/a.png', 'notes.txt', '._b.JPG', 'inner/.old/a.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = ['b.JPG', 'inner/a.png']
    assert find_images(str(tmp_path)) == [tmp_path / name for name in names]
    listed = tmp_path / 'list.txt'
    listed.write_text('\ufeffinner/a.png\n\nb.JPG\n', encoding='utf-8')
    assert find_images(str(listed)) == [tmp_path / name for name in names[::-1]]
    listed.write_text('c.png\n')
    with pytest.raises(FileNotFoundError, match=r'c\.png'):
        find_images(str(listed))


@pytest.mark.parametrize('policy', ['raise', 'skip'])
def test_an_image_that_cannot_be_loaded(tmp_path: Path, policy: str) -> None:
    (tmp_path / 'a.png').write_text('x')
    cv2.imwrite(str(tmp_path / 'b.png'), np.full((4, 4, 3), 7, np.uint8))
    bad = BadSamples(policy, tmp_path / 'bad_data.txt')
    load = dict(type='mmcv.LoadImageFromFile')
    images = UnlabelledImages(str(tmp_path), [load], bad)
    if policy == 'raise':
        with pytest.raises(ValueError, match=r'a\.png could not be loaded'):
            images[0]
        return
    assert images[0]['img'].mean() == 7
    assert bad.names() == [str(tmp_path / 'a.png')]
    # The files are not the cause of a transform's error.
    images = UnlabelledImages(str(tmp_path), [load, load], bad)
    images.pipeline.transforms[1] = None
    with pytest.raises(ValueError, match=r'b\.png .*not callable.* because of a bug'):
        images[0]
    (tmp_path / 'b.png').write_text('x')
    with pytest.raises(ValueError, match=r'None of 2 unlabelled images'):
        UnlabelledImages(str(tmp_path), [load], bad)[0]


def test_a_strong_view_that_moves_pixels_is_refused() -> None:
    strong = [dict(type='mmseg.RandomFlip', prob=1.0)]
    pack = PackWeakAndStrong(strong, dict(type='mmseg.PackSegInputs'))
    image = np.zeros((8, 8, 3), np.uint8)
    label = np.full((8, 8), IMAGE, np.uint8)
    results = dict(img=image, gt_seg_map=label, seg_fields=['gt_seg_map'])
    with pytest.raises(ValueError, match=r'mmseg\.RandomFlip.* moves pixels'):
        pack(results)
    with pytest.raises(ValueError, match=r'Put mmcosub\.NoLabel in the pipeline'):
        pack({**results, 'gt_seg_map': 0 * label})


def test_transforms_of_a_user_are_not_taken_for_those_of_the_same_name() -> None:
    theirs = [dict(type=f'theirs.{n}') for n in ('LoadAnnotations', 'Invert')]
    pipeline = [*theirs, dict(type='mmseg.LoadAnnotations'), dict(type='Invert')]
    *steps, _ = weak_and_strong([*pipeline, dict(type='mmseg.PackSegInputs')], [])
    assert steps == [*theirs, dict(type='mmcosub.NoLabel')]


def configured(root: Path, **options: object) -> Config:
    cfg = Config(segmentation_config(root))
    cfg.unlabelled = dict(data_root=str(root / 'images'), **options)
    init_default_scope('mmseg')
    return cfg


def test_no_strong_transforms_leave_the_weak_view(scenes: Path) -> None:
    sample = unlabelled_dataset(configured(scenes, strong=[]))[0]
    assert torch.equal(sample['inputs'], sample['strong'])
    sample = unlabelled_dataset(configured(scenes))[0]
    assert not torch.equal(sample['inputs'], sample['strong'])


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('channels', [(), (1,), (3,), (4,), (6,)])
def test_the_default_strong_view_of_any_image(kind: type, channels: tuple) -> None:
    init_default_scope('mmseg')
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 250, (8, 9, *channels)).astype(kind)
    np.random.seed(0)
    for _ in range(3):
        strong = StrongColours().transform(dict(img=image.copy()))['img']
        assert (strong.shape, strong.dtype) == (image.shape, image.dtype)
        assert not np.array_equal(strong, image)
        # Brighter or darker, as a whole.
        related = np.corrcoef(strong.ravel(), image.ravel())[0, 1]
        assert related > (0.1 if kind is np.uint8 else 0.4)


def test_a_pipeline_of_their_own_needs_no_labels(scenes: Path) -> None:
    steps = ['LoadImageFromFile', 'PhotoMetricDistortion', 'PackSegInputs']
    own = [dict(type=name) for name in steps]
    dataset = unlabelled_dataset(configured(scenes, pipeline=own))
    kinds = [type(t).__name__ for t in dataset.pipeline.transforms]
    assert kinds == [steps[0], 'NoLabel', steps[1], 'PackWeakAndStrong']
    assert (dataset[0]['data_samples'].gt_sem_seg.data == IMAGE).all()
    whole = weak_and_strong(own, [], given=True)
    assert weak_and_strong(whole, [], given=True) == whole


def test_mosaics_are_left_out(scenes: Path) -> None:
    cfg = configured(scenes)
    inner = cfg.train_dataloader.dataset
    inner.pipeline = inner.pipeline[:2]
    mosaic = dict(type='RandomMosaic', prob=1.0, img_scale=(32, 32))
    steps = [mosaic, dict(type='PackSegInputs')]
    cfg.train_dataloader.dataset = dict(
        type='MultiImageMixDataset', pipeline=steps, dataset=inner
    )
    transforms = unlabelled_dataset(cfg).pipeline.transforms
    kinds = [type(t).__name__ for t in transforms]
    assert kinds == ['LoadImageFromFile', 'NoLabel', 'PackWeakAndStrong']


def test_a_single_pixel_is_flipped(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((1, 1, 3), np.uint8))
    steps = ['LoadImageFromFile', 'NoLabel', 'RandomFlip', 'PackSegInputs']
    pipeline = [dict(type=name) for name in steps]
    pipeline[1]['type'], pipeline[2]['prob'] = 'mmcosub.NoLabel', 1.0
    init_default_scope('mmseg')
    images = UnlabelledImages(str(tmp_path), weak_and_strong(pipeline, []))
    assert images[0]['inputs'].shape == (3, 1, 1)


def test_a_hook_switches_the_pipeline_of_labelled_images_alone() -> None:
    labelled, unlabelled = SimpleNamespace(pipeline=[]), SimpleNamespace(pipeline=[])
    loader: Any = SimpleNamespace(dataset=WithUnlabelled(labelled, unlabelled))
    runner: Any = SimpleNamespace(train_loop=SimpleNamespace(dataloader=loader))
    SwitchRecipeHook._switch_train_pipeline(runner, ['new'])
    assert (labelled.pipeline, unlabelled.pipeline) == (['new'], [])


def test_the_strong_view_is_the_weak_one_in_other_colours(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / 'a.png'), image)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomCrop', crop_size=(32, 64), cat_max_ratio=0.75),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]
    strong = [dict(type='mmpretrain.ColorJitter', brightness=(1.5, 1.5))]
    *steps, last = weak_and_strong(pipeline, strong)
    assert [step['type'] for step in steps] == [
        *('LoadImageFromFile', 'mmcosub.NoLabel', 'RandomCrop')
    ]
    init_default_scope('mmseg')
    sample = UnlabelledImages(str(tmp_path), [*steps, last])[0]
    weak, other = sample['inputs'].float(), sample['strong'].float()
    brighter = (1.5 * weak).clamp(max=255).floor()
    assert (other - brighter).abs().max() <= 1
    assert (sample['data_samples'].gt_sem_seg.data == IMAGE).all()
