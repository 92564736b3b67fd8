"""One segmentation training, its backbone's pretraining, and what is measured of it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from measures import calibration_error, fitted_temperature
from scenes import COUNTS, HELD_OUT, SceneData, Scenes
from settings import TEST_SEEDS, SceneRun
from torch import Tensor, nn
from torch.nn import functional as F
from training import learning_rate, rounded

POINTS = 6
PART = 50
"""Scenes that are predicted at a time; the calibration error is the mean over parts."""
PRETRAINING = dict(batch=64, lr=2e-3, weight_decay=0.05)
COSUB = dict(type='Cosub', weight=0.5)
CLASSES = 11
STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
WIDTHS = {'swin': [24, 48, 96], 'vit': [96] * 3}


# ---- models ----------------------------------------------------------------------


def backbone(network: str, rate: float, size: int, segments: bool) -> dict:
    """Config of a small backbone.

    Args:
        network (str): 'swin' or 'vit'.
        rate (float): Drop-path rate; rises to it linearly over the Swin.
        size (int): Height and width of an image.
        segments (bool): Whether it puts out feature maps, else one vector.
    """
    if network == 'swin':
        return dict(
            type='mmpretrain.SwinTransformer',
            arch=dict(embed_dims=24, depths=[2, 2, 4], num_heads=[1, 2, 4]),
            img_size=size,
            window_size=4,
            drop_path_rate=rate,
            pad_small_map=True,
            out_indices=(0, 1, 2) if segments else (2,),
        )
    return dict(
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=96, num_layers=6, num_heads=3, feedforward_channels=192),
        img_size=size,
        patch_size=8,
        layer_cfgs=dict(drop_path_rate=rate),
        final_norm=not segments,
        out_type='featmap' if segments else 'avg_featmap',
        out_indices=(1, 3, 5) if segments else -1,
    )


def classifier(run: SceneRun) -> nn.Module:
    """A classifier to pretrain a backbone in, stock or trained by cosub.

    Args:
        run (SceneRun): The run that the backbone is for.
    """
    from mmpretrain.registry import MODELS

    model = dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=10, to_rgb=True, **STATISTICS),
        backbone=backbone(run.network, run.pretrain_rate, run.size, segments=False),
        neck=dict(type='GlobalAveragePooling') if run.network == 'swin' else None,
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=WIDTHS[run.network][-1],
            loss=dict(type='CrossEntropyLoss'),
        ),
    )
    if run.pretrained == 'cosub':
        scheme = dict(loss='ce', seed=run.seed, **COSUB)
        model.update(type='mmcosub.CoTrainingImageClassifier', scheme=scheme)
    return _built(MODELS, model, run.seed)


def segmentor(run: SceneRun) -> nn.Module:
    """The UperNet of a run: a stock one, or the same trained by a scheme.

    Args:
        run (SceneRun): The run.
    """
    from mmseg.registry import MODELS

    widths = WIDTHS[run.network]
    common = dict(
        num_classes=CLASSES,
        norm_cfg=dict(type='BN'),
        dropout_ratio=0.1,
        align_corners=False,
    )
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            bgr_to_rgb=True,
            size=(run.size, run.size),
            pad_val=0,
            seg_pad_val=255,
            **STATISTICS,
        ),
        backbone=backbone(run.network, run.rate, run.size, segments=True),
        decode_head=dict(
            type='UPerHead',
            in_channels=widths,
            in_index=[0, 1, 2],
            pool_scales=(1, 2, 3, 6),
            channels=48,
            loss_decode=dict(type='CrossEntropyLoss'),
            **common,
        ),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=widths[1],
            in_index=1,
            channels=24,
            num_convs=1,
            concat_input=False,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
            **common,
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    if run.network == 'vit':
        model['neck'] = dict(
            type='MultiLevelNeck',
            in_channels=widths,
            out_channels=widths[0],
            scales=[2, 1, 0.5],
        )
    if run.scheme:
        scheme = dict(loss='ce', seed=run.seed, **run.scheme)
        model.update(type='mmcosub.CoTrainingEncoderDecoder', scheme=scheme)
    return _built(MODELS, model, run.seed)


def _built(registry: Any, config: dict, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = registry.build(config)
    model.init_weights()
    return model


# ---- training --------------------------------------------------------------------


def _steps(
    model: nn.Module, data: Scenes, samples: Any, settings: Any, seed: int
) -> Iterator[int]:
    """Train, an iteration at a time; yields how many are done."""
    from mmengine.optim import build_optim_wrapper

    optim_wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(
                type='AdamW',
                lr=settings.lr,
                weight_decay=settings.weight_decay,
                fused=True,
            ),
            paramwise_cfg=dict(norm_decay_mult=0.0),
        ),
    )
    rng = np.random.default_rng((seed, 3))
    order = np.empty(0, np.int64)
    for step in range(settings.iterations):
        while len(order) < settings.batch:
            order = np.append(order, rng.permutation(len(data.labels)))
        index, order = np.split(order, [settings.batch])
        flips = rng.random(settings.batch) < 0.5
        for group in optim_wrapper.param_groups:
            group['lr'] = learning_rate(step, settings)
        images = data.images[index]
        images[flips] = images[flips].flip(-1)
        batch = dict(inputs=[*images], data_samples=samples(data.labels[index], flips))
        model.train_step(batch, optim_wrapper)
        yield step + 1


def _class_samples(labels: Tensor, flips: Any) -> list:
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(label) for label in labels.tolist()]


def _map_samples(labels: Tensor, flips: Any) -> list:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = []
    for label, flip in zip(labels, flips, strict=True):
        sample = SegDataSample(metainfo=dict(img_shape=label.shape))
        shown = label.flip(-1) if flip else label
        sample.gt_sem_seg = PixelData(data=shown[None])
        samples.append(sample)
    return samples


def pretrain(run: SceneRun, data: SceneData, folder: Path) -> dict:
    """Weights of a pretrained backbone, made once for all runs that start from them.

    Args:
        run (SceneRun): The run.
        data (SceneData): The pictures.
        folder (Path): Where pretrained backbones are kept.

    Returns:
        dict: The backbone's ``state_dict`` and its classifier's ``accuracy`` on the
        validation pictures.
    """
    settings = SimpleNamespace(iterations=run.pretrain_iterations, **PRETRAINING)
    parts = (run.network, run.pretrained, run.pretrain_rate, run.size, run.pictures)
    name = '-'.join(map(str, (*parts, run.pretrain_iterations, run.seed)))
    path = folder / f'{name}.pth'
    if path.is_file():
        return torch.load(path, weights_only=True)
    model = classifier(run)
    pictures = data.pictures('training', run.pictures, run.size)
    model.train()
    for _ in _steps(model, pictures, _class_samples, settings, run.seed):
        pass
    model.eval()
    held_out = data.pictures('validation', HELD_OUT, run.size)
    with torch.inference_mode():
        predicted = [
            model(model.data_preprocessor(dict(inputs=x))['inputs'], mode='tensor')
            for x in held_out.images.split(100)
        ]
    right = torch.cat(predicted).argmax(1) == held_out.labels
    result = dict(
        state_dict=model.backbone.state_dict(),
        accuracy=100 * float(right.float().mean()),
    )
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f'.{os.getpid()}')
    torch.save(result, partial)
    os.replace(partial, path)
    return result


def train(run: SceneRun, data: SceneData, folder: Path) -> dict[str, Any]:
    """Train, and measure.

    Args:
        run (SceneRun): The settings.
        data (SceneData): Scenes and pictures.
        folder (Path): Where pretrained backbones are kept.

    Returns:
        dict[str, Any]: Scores on the validation and, by seed, the test scenes; a
        validation curve; what the views did.
    """
    from mmengine.registry import DefaultScope

    begin = time.process_time()
    result: dict[str, Any] = {}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        weights = None if run.pretrained == 'scratch' else pretrain(run, data, folder)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = segmentor(run)
        if weights is not None:
            result['pretraining'] = weights['accuracy']
            result['matched'] = load(model.backbone, weights['state_dict'])
        result |= _train(run, model, data)
    result['seconds'] = time.process_time() - begin
    return rounded(result)


def load(target: nn.Module, weights: dict) -> float:
    """Carry a backbone over, as ``--backbone`` does; the share of weights that it got.

    Args:
        target (Module): The segmentor's backbone.
        weights (dict): The pretrained backbone's.
    """
    import tempfile

    from mmcosub.checkpoints import load_backbone

    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'backbone.pth')
        torch.save({f'backbone.{k}': v for k, v in weights.items()}, file)
        return float(load_backbone(target, file).match)


def _train(run: SceneRun, model: nn.Module, data: SceneData) -> dict[str, Any]:
    from mmcosub.hooks.full_network_bn_hook import estimate_statistics

    curve, seen, seconds = [], [], 0.0
    validation = data.scenes('validation', COUNTS['validation'], run.size)
    scenes = data.scenes('training', run.scenes, run.size)
    model.train()
    scheme = getattr(model, 'scheme', None)
    start = time.process_time()
    for step in _steps(model, scenes, _map_samples, run, run.seed):
        seconds += time.process_time() - start
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
        start = time.process_time()
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
        samples = _map_samples(scenes.labels[index], [False] * batch)
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
    return torch.cat(logits)


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
