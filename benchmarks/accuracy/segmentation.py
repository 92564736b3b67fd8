"""One segmentation training of the study, and what is measured of it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from measures import calibration_error, fitted_temperature
from pretraining import load, pretrain
from scene_models import CLASSES, segmentor
from scenes import COUNTS, SceneData, Scenes
from settings import TEST_SEEDS, SceneRun, UnlabelledRun
from steps import map_samples, steps, unlabelled_batches
from torch import Tensor, nn
from torch.nn import functional as F
from training import Clock, clock_of, rounded

POINTS = 6
LABELLED = 500
"""The first training scenes, of which some are labelled; the others are not."""
PART = 50
"""Scenes that are predicted at a time; the calibration error is the mean over parts."""


def train(
    run: SceneRun, data: SceneData, folder: Path, device: str = 'cpu'
) -> dict[str, Any]:
    """Train, and measure.

    Args:
        run (SceneRun): The settings.
        data (SceneData): Scenes and pictures.
        folder (Path): Where pretrained backbones are kept.
        device (str): Where to train. Defaults to 'cpu'.

    Returns:
        dict[str, Any]: Scores on the validation and, by seed, the test scenes; a
        validation curve; what the views did; what a step took, in processor time on a
        CPU.
    """
    from mmengine.registry import DefaultScope

    begin = time.process_time()
    result: dict[str, Any] = {}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        weights = None
        if run.pretrained != 'scratch':
            weights = pretrain(run, data, folder, device)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = segmentor(run)
        if weights is not None:
            result['pretraining'] = weights['accuracy']
            result['matched'] = load(model.backbone, weights['state_dict'])
        result |= _train(run, model.to(device), data, clock_of(device))
    result['seconds'] = time.process_time() - begin
    return rounded(result)


def _train(
    run: SceneRun, model: nn.Module, data: SceneData, clock: Clock
) -> dict[str, Any]:
    from mmcosub.hooks.full_network_bn_hook import estimate_statistics

    curve, seen, seconds = [], [], 0.0
    validation = data.scenes('validation', COUNTS['validation'], run.size)
    scenes = data.scenes('training', run.scenes, run.size)
    unlabelled = None
    if getattr(run, 'unlabelled', None):
        assert isinstance(run, UnlabelledRun)
        whole = data.scenes('training', LABELLED + run.unlabelled_scenes, run.size)
        others = whole.images[LABELLED:]
        unlabelled = unlabelled_batches(others, run.unlabelled_batch, run.seed)
    model.train()
    scheme = getattr(model, 'scheme', None)
    start = clock()
    for step in steps(model, scenes, map_samples, run, run.seed, unlabelled):
        seconds += clock() - start
        telemetry = getattr(model, 'telemetry', {})
        seen.append({k: float(v) for k, v in telemetry.items()})
        if step % max(run.iterations // POINTS, 1) == 0:
            mean = {k: sum(s[k] for s in seen) / len(seen) for k in seen[0]}
            if scheme is not None and scheme.changes_statistics:
                estimate_statistics(model, _batches(scenes, run.batch))
            logits = segment(model, validation)
            point = scores(logits, validation.labels)
            curve.append(dict(iteration=step, **point, views=mean))
            seen.clear()
            model.train()
        start = clock()
    logits = segment(model, validation)
    result: dict[str, Any] = dict(
        validation=scores(logits, validation.labels),
        training=scores(segment(model, scenes), scenes.labels),
        curve=curve,
        step_ms=1000 * seconds / run.iterations,
    )
    if run.seed < TEST_SEEDS:
        temperature = fitted_temperature(logits, validation.labels)
        test = data.scenes('test', COUNTS['test'], run.size)
        logits = segment(model, test)
        result['test'] = scores(logits, test.labels)
        scaled = scores(logits / temperature, test.labels)
        result['scaled'] = dict(temperature=temperature, test=scaled)
    return result


def _batches(scenes: Scenes, batch: int) -> Iterator[dict]:
    """All training scenes in order, less what does not fill a batch."""
    for start in range(0, len(scenes.labels) - batch + 1, batch):
        index = slice(start, start + batch)
        samples = map_samples(scenes.labels[index], [False] * batch)
        yield dict(inputs=[*scenes.images[index]], data_samples=samples)


@torch.inference_mode()
def segment(model: nn.Module, data: Scenes) -> Tensor:
    """Logits of shape (N, C, size, size).

    Args:
        model (Module): A segmentor; it is left in evaluation mode.
        data (Scenes): The scenes.
    """
    model.eval()
    logits = []
    for images in data.images.split(PART):
        inputs = model.data_preprocessor(dict(inputs=[*images]))['inputs']
        shape = dict.fromkeys(('ori_shape', 'img_shape', 'pad_shape'), images.shape[2:])
        metas = [dict(**shape, padding_size=[0] * 4)] * len(images)
        logits.append(model.encode_decode(inputs, metas))
    return torch.cat(logits).cpu()


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Pixel accuracy and mIoU in percent, likelihood and calibration error.

    Args:
        logits (Tensor): Of shape (N, C, size, size).
        labels (Tensor): Of shape (N, size, size).
    """
    counts = torch.zeros(CLASSES, CLASSES)
    nll, ece = 0.0, 0.0
    for z, y in zip(logits.split(PART), labels.split(PART), strict=True):
        pairs = y * CLASSES + z.argmax(1)
        counts += torch.bincount(pairs.flatten(), minlength=CLASSES**2).view(
            CLASSES, CLASSES
        )
        share = len(y) / len(labels)
        nll += share * float(F.cross_entropy(z, y))
        flat = z.softmax(1).movedim(1, -1).reshape(-1, CLASSES)
        ece += share * calibration_error(flat, y.flatten())
    right = counts.diag()
    union = counts.sum(0) + counts.sum(1) - right
    return dict(
        miou=100 * float((right / union)[union > 0].mean()),
        accuracy=100 * float(right.sum() / counts.sum()),
        nll=nll,
        ece=ece,
    )
