"""Test-time augmentation version by version predicts what mmseg's does."""

import copy
import weakref
from argparse import Namespace
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny import segmentor_config

from mmcosub.models import streamed_tta

SIZES = [(32, 32), (48, 40)]
"""Of the versions; each comes flipped, too."""


def batch(shapes: list[tuple[int, int]]) -> dict[str, list]:
    """Versions of images of these original shapes."""
    torch.manual_seed(0)
    inputs, samples = [], []
    for size in SIZES:
        for flip in (False, True):
            inputs.append([torch.randint(256, (3, *size)).byte() for _ in shapes])
            samples.append([])
            for i, shape in enumerate(shapes):
                meta = dict(img_shape=size, ori_shape=shape, img_path=f'{i}.jpg')
                meta |= dict(flip=flip, flip_direction='horizontal')
                sample = SegDataSample(metainfo=meta)
                sample.gt_sem_seg = PixelData(data=torch.full((1, *shape), i))
                samples[-1].append(sample)
    return dict(inputs=inputs, data_samples=samples)


def build(classes: int, sigmoid: bool) -> Any:
    """A tiny segmentor whose head has this loss, and one output channel for 1 class."""
    init_default_scope('mmseg')
    cfg = ConfigDict(segmentor_config())
    for part in ('decode_head', 'auxiliary_head'):
        cfg[part].update(num_classes=classes, out_channels=classes, threshold=0.4)
        cfg[part].loss_decode = dict(type='CrossEntropyLoss', use_sigmoid=sigmoid)
    cfg['data_preprocessor'] = dict(
        type='SegDataPreProcessor',
        mean=[99.0] * 3,
        std=[50.0] * 3,
        test_cfg=dict(size_divisor=32),
    )
    torch.manual_seed(1)
    return MODELS.build(cfg).eval()


@pytest.mark.parametrize('shapes', [[(37, 51)], [(20, 33), (64, 41)]])
def test_equals_stock(
    shapes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(3, sigmoid=False)
    stock = MODELS.build(dict(type='SegTTAModel', module=model))
    ours = MODELS.build(dict(type='mmcosub.StreamedSegTTAModel', module=model))
    with torch.no_grad():
        expected = stock.test_step(batch(shapes))
        found = ours.test_step(batch(shapes))
    assert len(found) == len(shapes)
    for i, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
        assert torch.equal(one.gt_sem_seg.data, other.gt_sem_seg.data)
        assert one.img_path == f'{i}.jpg'
        assert one.ori_shape == shapes[i]


@pytest.mark.parametrize('times', [1, 2, 3])
@pytest.mark.parametrize(('classes', 'sigmoid'), [(3, False), (3, True), (1, True)])
def test_identity_views_change_nothing(classes: int, sigmoid: bool, times: int) -> None:
    model = build(classes, sigmoid)
    ours = MODELS.build(dict(type='mmcosub.StreamedSegTTAModel', module=model))
    one = {key: views[:1] for key, views in batch([(37, 51), (20, 33)]).items()}
    same = {key: copy.deepcopy(views * times) for key, views in one.items()}
    with torch.no_grad():
        plain = model.test_step({key: views[0] for key, views in one.items()})
        found = ours.test_step(same)
    for expected, sample in zip(plain, found, strict=True):
        assert len(expected.pred_sem_seg.data.unique()) > 1
        assert torch.equal(sample.pred_sem_seg.data, expected.pred_sem_seg.data)


def test_views_of_a_binary_head_are_averaged_as_probabilities() -> None:
    views = [torch.tensor([[[0.1, 0.3, 0.9]]]), torch.tensor([[[0.5, 0.6, 0.2]]])]

    class Model(torch.nn.Module):
        out_channels = 1
        decode_head = Namespace(threshold=0.4)

        def test_step(self, data: dict) -> list[SegDataSample]:
            return [SegDataSample(seg_logits=PixelData(data=views[data['inputs']]))]

    found = streamed_tta.StreamedSegTTAModel(module=Model()).test_step(
        dict(inputs=[0, 1])
    )
    assert found[0].pred_sem_seg.data.tolist() == [[[0.0, 1.0, 1.0]]]


@torch.no_grad()
def test_logits_have_the_averaged_probabilities() -> None:
    """So that metrics of probabilities measure the average, not one version."""
    model = streamed_tta.StreamedSegTTAModel(module=build(5, False))
    data = batch([(20, 33)])
    (found,) = model.test_step(copy.deepcopy(data))
    versions = zip(*copy.deepcopy(data).values(), strict=True)
    each = [model.module.test_step(dict(zip(data, v, strict=True))) for v in versions]
    mean = sum(samples[0].seg_logits.data.softmax(0) for samples in each) / len(each)
    torch.testing.assert_close(found.seg_logits.data.softmax(0), mean)


def test_one_version_at_a_time() -> None:
    """When a version is computed, nothing holds the logits of the one before."""
    held: list[int] = []
    made: list[weakref.ref] = []

    class Model(torch.nn.Module):
        out_channels = 3

        def test_step(self, data: dict) -> list[SegDataSample]:
            held.append(sum(ref() is not None for ref in made))
            logits = torch.randn(3, 8, 8)
            made.append(weakref.ref(logits))
            sample = data['data_samples'][0]
            sample.seg_logits = PixelData(data=logits)
            return [sample]

    wrapped = streamed_tta.StreamedSegTTAModel(module=Model())
    wrapped.test_step(batch([(8, 8)]))
    assert held == [0, 0, 0, 0]
