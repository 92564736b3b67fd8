"""NLL, ECE and Brier score against the written-out formulas."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from launch import free_port
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch.multiprocessing.spawn import start_processes

from mmcosub.config.flags import add_probability_metrics
from mmcosub.evaluation import ProbabilityMetric, probability_metric
from mmcosub.registry import METRICS

IMAGES = 7
SIZE = (6, 5)


def reference(p: np.ndarray, y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Of probabilities (N, C), labels (N,) and predictions (N,), in a slow way."""
    n = len(y)
    nll = -np.mean([np.log(p[i, y[i]]) for i in range(n)])
    brier = np.mean([np.sum((p[i] - np.eye(p.shape[1])[y[i]]) ** 2) for i in range(n)])
    confidence = np.array([p[i, predicted[i]] for i in range(n)])
    ece = 0.0
    for low in range(15):
        inside = (confidence >= low / 15) & (confidence < (low + 1) / 15)
        inside |= (low == 14) & (confidence == 1)
        if inside.any():
            accuracy = (predicted[inside] == y[inside]).mean()
            ece += inside.sum() / n * abs(accuracy - confidence[inside].mean())
    return dict(NLL=nll, ECE=100 * ece, Brier=brier)


def segmented(channels: int) -> tuple[list[SegDataSample], dict[str, float]]:
    """Predictions of mmseg for images with ignored pixels, and their metrics."""
    generator = torch.Generator().manual_seed(channels)
    samples, flat = [], []
    for _ in range(IMAGES):
        logits = 2 * torch.randn(channels, *SIZE, generator=generator)
        labels = torch.randint(0, max(channels, 2), (1, *SIZE), generator=generator)
        labels[:, 0] = 255
        if channels == 1:  # as mmseg stores it, with a threshold of 0.3
            logits = logits.sigmoid()
            predicted = (logits > 0.3).float()
            p = torch.cat([1 - logits, logits])
        else:
            predicted = logits.argmax(0, keepdim=True)
            p = logits.double().softmax(0)
        sample = SegDataSample(
            gt_sem_seg=PixelData(data=labels.to(torch.uint8)),
            seg_logits=PixelData(data=logits),
            pred_sem_seg=PixelData(data=predicted),
        )
        samples.append(sample)
        known = labels[0] != 255
        flat.append((p[:, known].T, labels[0][known], predicted[0][known].long()))
    joined = [torch.cat(each).numpy() for each in zip(*flat, strict=True)]
    return samples, reference(*joined)


def classified() -> tuple[list[DataSample], dict[str, float]]:
    """Predictions of mmpretrain, of which class 255 is an ordinary one."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(IMAGES, 300, generator=generator).mul(3).softmax(1)
    labels = torch.tensor([255, 0, 1, 255, 299, 7, 255])
    predicted = scores.argmax(1)
    predicted[:2] = labels[:2]
    samples = [
        DataSample().set_gt_label(y).set_pred_score(s).set_pred_label(z)
        for y, s, z in zip(labels, scores, predicted, strict=True)
    ]
    arrays = (scores.double().numpy(), labels.numpy(), predicted.numpy())
    return samples, reference(*arrays)


CASES = {
    'softmax': lambda: segmented(4),
    'two classes': lambda: segmented(2),
    'one channel': lambda: segmented(1),
    'classifier': classified,
}


def measure(samples: Sequence, batch: int) -> dict[str, float]:
    """Metrics of samples that come in batches."""
    metric = METRICS.build(dict(type='mmcosub.ProbabilityMetric'))
    assert isinstance(metric, ProbabilityMetric)
    for first in range(0, len(samples), batch):
        part = [each.to_dict() for each in samples[first : first + batch]]
        metric.process({}, part)
    return metric.evaluate(len(samples))


@pytest.mark.parametrize('batch', [1, 3, IMAGES])
@pytest.mark.parametrize('case', CASES)
def test_against_formulas(
    case: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, expected = CASES[case]()
    monkeypatch.setattr(probability_metric, '_CHUNK', 17 * batch)  # in pieces
    assert measure(samples, batch) == pytest.approx(expected, rel=1e-5)


def _of_a_rank(rank: int, port: int, folder: str) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.distributed.init_process_group('gloo')
    samples, expected = segmented(4)
    # As a sampler gives them out; the last one is padded by the first.
    own = [*samples, samples[0]][get_rank() :: 2]
    # Else MMEngine leaves a folder `.dist_test` in the current directory.
    metric = ProbabilityMetric(collect_dir=folder)
    metric.process({}, [each.to_dict() for each in own])
    assert max(each.numel() for each in metric.results) < 20  # sums, no maps
    assert metric.evaluate(len(samples)) == pytest.approx(expected, rel=1e-5)
    torch.distributed.destroy_process_group()


def test_two_ranks(tmp_path: Path) -> None:
    arguments = free_port(), str(tmp_path / 'collected')
    start_processes(_of_a_rank, arguments, nprocs=2, start_method='fork')


def test_nothing_labelled() -> None:
    samples, _ = segmented(4)
    for sample in samples:
        sample.gt_sem_seg.data.fill_(255)
    assert all(np.isnan(value) for value in measure(samples, 2).values())


def test_what_has_no_probabilities() -> None:
    with pytest.raises(ValueError, match=r'needs logits .* has \[.pred_label.\]'):
        ProbabilityMetric().process({}, [dict(pred_label=1)])
    several = dict(
        pred_score=torch.rand(3), gt_label=torch.ones(2), pred_label=torch.ones(1)
    )
    with pytest.raises(ValueError, match='one label an image'):
        ProbabilityMetric().process({}, [several])


@pytest.mark.parametrize(
    'evaluator',
    [
        dict(type='IoUMetric'),
        [dict(type='IoUMetric')],
        dict(metrics=[dict(type='IoUMetric')]),
    ],
)
def test_the_flag(evaluator: dict | list) -> None:
    head = dict(type='FCNHead', ignore_index=7)
    cfg = Config(dict(model=dict(decode_head=head), val_evaluator=evaluator))
    for _ in range(2):  # once is enough
        add_probability_metrics(cfg)
        found = cfg.val_evaluator
        found = found['metrics'] if isinstance(found, dict) else found
        assert [each['type'] for each in found] == [
            'IoUMetric',
            'mmcosub.ProbabilityMetric',
        ]
        assert found[1]['ignore_index'] == 7


def test_the_flag_where_it_cannot_be() -> None:
    with pytest.raises(ValueError, match='no val_evaluator'):
        add_probability_metrics(Config(dict(model=dict())))
    with pytest.raises(ValueError, match='no test_evaluator'):
        add_probability_metrics(Config(dict(model=dict())), 'test')
    cfg = dict(
        model=dict(decode_head=dict(type='Mask2FormerHead')), val_evaluator={1: 1}
    )
    with pytest.raises(ValueError, match='Mask2FormerHead'):
        add_probability_metrics(
            Config(dict(cfg, val_evaluator=[dict(type='IoUMetric')]))
        )
