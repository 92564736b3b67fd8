"""Unlabelled images in whole runs: batches, resuming, bad input."""

import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmcosub.datasets.unlabelled import (
    PackWeakAndStrong,
    UnlabelledImages,
    find_images,
    weak_and_strong,
)
from mmcosub.engine.unlabelled import UnlabelledOrder


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


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (['unlabelled.batch_size=0'], 'unlabelled.batch_size=0'),
        (['unlabelled.students=half'], 'complementary'),
        (['unlabelled.treshold=0.9'], "Did you mean 'threshold'"),
        (['unlabelled.cutmix=yes'], "cutmix must be True or False, not 'yes'"),
        (['unlabelled.data_root=/nowhere'], '/nowhere'),
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
    (tmp_path / 'inner').mkdir()
    for name in ('b.JPG', 'inner/a.png', 'notes.txt'):
        (tmp_path / name).touch()
    names = ['b.JPG', 'inner/a.png']
    assert find_images(str(tmp_path)) == [tmp_path / name for name in names]
    listed = tmp_path / 'list.txt'
    listed.write_text('\ufeffinner/a.png\n\nb.JPG\n', encoding='utf-8')
    assert find_images(str(listed)) == [tmp_path / name for name in names[::-1]]
    listed.write_text('c.png\n')
    with pytest.raises(FileNotFoundError, match=r'c\.png'):
        find_images(str(listed))


def test_a_strong_view_that_moves_pixels_is_refused() -> None:
    strong = [dict(type='mmseg.RandomFlip', prob=1.0)]
    pack = PackWeakAndStrong(strong, dict(type='mmseg.PackSegInputs'))
    image = np.zeros((8, 8, 3), np.uint8)
    results = dict(img=image, gt_seg_map=image[..., 0], seg_fields=['gt_seg_map'])
    with pytest.raises(ValueError, match=r'mmseg\.RandomFlip.* moves pixels'):
        pack(results)


def test_transforms_of_a_user_are_not_taken_for_those_of_the_same_name() -> None:
    theirs = [dict(type=f'theirs.{n}') for n in ('LoadAnnotations', 'Invert')]
    pipeline = [*theirs, dict(type='mmseg.LoadAnnotations'), dict(type='Invert')]
    *steps, _ = weak_and_strong([*pipeline, dict(type='mmseg.PackSegInputs')], [])
    assert steps == [*theirs, dict(type='mmcosub.NoLabel')]


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
    assert (sample['data_samples'].gt_sem_seg.data == 0).all()
