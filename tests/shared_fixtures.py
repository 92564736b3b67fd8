"""Fixtures of all tests, and the libraries underneath."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from conftest import load_tool
from mmengine.registry import Registry
from shortcuts import take_shortcuts
from stock import forget_runners, segmentation_config, write_config
from tiny import segmentor_config

from mmcosub.stack import import_stack_quietly

torch.set_num_threads(1)
import_stack_quietly()
take_shortcuts()


def pytest_collection_finish() -> None:
    """Leave out of garbage collection what stays: MMEngine's data sets ask for it."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let what stayed be collected, or Triton reports it as leaked."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def fresh_globals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No runner of one test finds the visualizer, scope or rank of another."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    yield
    forget_runners()


@pytest.fixture
def registry_of_theirs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Registry]:
    """Makes a user's registry, of the scope ``theirs``, that is gone after the test.

    A registry enters itself into its parent, and a second one of a scope is refused.
    """

    def make(parent: Registry) -> Registry:
        monkeypatch.setattr(parent, '_children', dict(parent._children))
        return Registry(parent.name, parent=parent, scope='theirs')

    return make


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small images with label maps, laid out as ADE20K is.

    Raw labels are 1 to 5; the brightness of an image is that of its label.
    """
    root = tmp_path_factory.mktemp('scenes')
    rng = np.random.default_rng(0)
    for split, count in (('training', 8), ('validation', 4)):
        for kind in ('images', 'annotations'):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            label = rng.integers(1, 6, (5, 6)).repeat(8, 0).repeat(8, 1)
            noise = rng.integers(0, 20, (*label.shape, 3))
            image = label[..., None] * 40 + noise
            names = [root / 'images' / split / f'{i}.jpg']
            names.append(root / 'annotations' / split / f'{i}.png')
            for name, array in zip(names, (image, label), strict=True):
                assert cv2.imwrite(str(name), array.astype(np.uint8))
    return root


@pytest.fixture
def config(tmp_path: Path, scenes: Path) -> Path:
    """File of a stock segmentation config; its work directory is beside it."""
    cfg = segmentation_config(scenes)
    return write_config(tmp_path / 'tiny.py', {**cfg, 'work_dir': str(tmp_path / 'w')})


@pytest.fixture
def classification_config(tmp_path: Path, scenes: Path) -> Path:
    """File of a stock classification config: is an image in folder a or b?"""
    for i in range(4):
        folder = tmp_path / 'classes' / 'ab'[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = scenes / 'images' / 'training' / f'{i}.jpg'
        (folder / image.name).write_bytes(image.read_bytes())
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=32),
        dict(type='PackInputs'),
    ]
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(
            type='CustomDataset',
            data_root=str(tmp_path / 'classes'),
            pipeline=pipeline,
        ),
    )
    backbone = segmentor_config()['backbone']
    backbone = {**backbone, 'type': 'SwinTransformer', 'out_indices': (1,)}
    cfg = dict(
        default_scope='mmpretrain',
        work_dir=str(tmp_path / 'w'),
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(mean=[0.0] * 3, std=[255.0] * 3, num_classes=2),
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead',
                num_classes=2,
                in_channels=16,
                loss=dict(type='CrossEntropyLoss'),
                topk=(1,),
            ),
        ),
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        test_evaluator=dict(type='Accuracy', topk=(1,)),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
        val_cfg=dict(),
        test_cfg=dict(),
        randomness=dict(seed=0),
    )
    return write_config(tmp_path / 'tiny_classifier.py', cfg)


@pytest.fixture(scope='session')
def train() -> ModuleType:
    """The script tools/train.py."""
    return load_tool('train')


@pytest.fixture(scope='session')
def test_tool() -> ModuleType:
    """The script tools/test.py."""
    return load_tool('test')
