"""Test-time augmentation version by version predicts what mmseg's does."""

import weakref

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


@pytest.mark.parametrize('classes', [1, 3])
@pytest.mark.parametrize('shapes', [[(37, 51)], [(20, 33), (64, 41)]])
def test_equals_stock(
    classes: int, shapes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_tta, '_CHUNK', 500)  # several parts of each image
    init_default_scope('mmseg')
    cfg = ConfigDict(segmentor_config())
    for part in ('decode_head', 'auxiliary_head'):
        cfg[part].update(num_classes=classes, out_channels=classes, threshold=0.4)
        if classes == 1:
            cfg[part].update(
                loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)
            )
    cfg['data_preprocessor'] = dict(
        type='SegDataPreProcessor',
        mean=[99.0] * 3,
        std=[50.0] * 3,
        test_cfg=dict(size_divisor=32),
    )
    torch.manual_seed(1)
    model = MODELS.build(cfg).eval()
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
        assert 'seg_logits' not in one


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
