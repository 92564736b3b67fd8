"""One training of the study, and what is measured after it."""

import time
from collections.abc import Callable
from typing import Any

import torch
from fashion import GREY, Batches, Images, subset, unlabelled_batches
from measures import branch_depths, fitted_temperature, predict, scores
from settings import TEST_SEEDS, Run, UnlabelledPhotographRun
from torch import nn

Clock = Callable[[], float]
POINTS = 10
"""Points of the validation curve."""

AVERAGE, AVERAGE_EVERY = 0.98, 10
"""Decay of the average of weights, and how many iterations lie between its updates."""


def build_model(run: Run) -> nn.Module:
    """The classifier of a run: a stock one, or the same trained by a scheme.

    Args:
        run (Run): The run.
    """
    from mmpretrain.registry import MODELS

    width = run.width
    label_loss = dict(
        ce=dict(type='CrossEntropyLoss'),
        bce=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    )
    model = dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=10, mean=[GREY], std=[90.0], to_rgb=False),
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch=dict(
                embed_dims=width,
                num_layers=run.depth,
                num_heads=2,
                feedforward_channels=2 * width,
            ),
            img_size=28,
            patch_size=7,
            in_channels=1,
            out_type='avg_featmap',
            layer_cfgs=dict(drop_path_rate=run.rate),
        ),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=width,
            loss=label_loss[run.loss],
        ),
    )
    if run.scheme:
        scheme = dict(loss=run.loss, seed=run.seed, **run.scheme)
        model.update(type='mmcosub.CoTrainingImageClassifier', scheme=scheme)
    if unlabelled := getattr(run, 'unlabelled', None):
        model['unlabelled'] = unlabelled
    torch.manual_seed(run.seed)
    classifier = MODELS.build(model)
    classifier.init_weights()
    return classifier


def learning_rate(step: int, run: Run) -> float:
    """Linear warm-up over a twentieth of the run, then a cosine down to 0.

    Args:
        step (int): Iterations done.
        run (Run): The run.
    """
    warm_up = max(run.iterations // 20, 1)
    if step < warm_up:
        return run.lr * (step + 1) / warm_up
    done = torch.tensor((step - warm_up) / (run.iterations - warm_up))
    return run.lr * float(1 + torch.cos(torch.pi * done)) / 2


def train(run: Run, data: dict[str, Images], device: str = 'cpu') -> dict[str, Any]:
    """Train, and measure.

    Args:
        run (Run): The settings.
        data (dict[str, Images]): From :func:`fashion.load`.
        device (str): Where to train. Defaults to 'cpu'.

    Returns:
        dict[str, Any]: Scores on the training images, the validation split and, by
        seed, the test split, of the network, of the average of its weights (EMA), and
        of the network with its logits scaled by a temperature that the validation split
        chose; a validation curve; what the views did; accuracy of submodels; what a
        step took, in processor time on a CPU.
    """
    from mmengine.optim import build_optim_wrapper
    from mmpretrain.structures import DataSample
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    begin = time.process_time()
    clock = clock_of(device)
    model = build_model(run).to(device)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
    optim_wrapper = build_optim_wrapper(
        model,
        dict(
            # One kernel for all weights: so small a network spends much on AdamW.
            optimizer=dict(
                type='AdamW', lr=run.lr, weight_decay=run.weight_decay, fused=True
            ),
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        ),
    )
    images = subset(data['training'], run.images, run.seed)
    batches = Batches(images, run.batch, run.seed, run.repeats)
    samples = [DataSample().set_gt_label(label) for label in range(10)]
    unlabelled = None
    if getattr(run, 'unlabelled', None):
        assert isinstance(run, UnlabelledPhotographRun)
        size = run.unlabelled_batch
        unlabelled = unlabelled_batches(data['training'], size, run.seed)
    every = run.iterations // POINTS
    curve, seen, seconds = [], [], 0.0
    model.train()
    for step in range(run.iterations):
        start = clock()
        for group in optim_wrapper.param_groups:
            group['lr'] = learning_rate(step, run)
        if run.ramp:
            model.scheme.ramp = min((step + 1) / (run.ramp * run.iterations), 1.0)
        inputs, labels = next(batches)
        batch = dict(inputs=inputs, data_samples=[samples[i] for i in labels.tolist()])
        if unlabelled is not None:
            weak, strong = next(unlabelled)
            unknown = [DataSample() for _ in weak]
            batch['unlabelled'] = dict(weak=weak, strong=strong, data_samples=unknown)
        losses = model.train_step(batch, optim_wrapper)
        if step % AVERAGE_EVERY == 0:
            averaged.update_parameters(model)
        seconds += clock() - start
        if step % 5 == 0 or not seen:
            seen.append(
                dict(loss=losses['loss'].item())
                | {k: float(v) for k, v in getattr(model, 'telemetry', {}).items()}
            )
        if (step + 1) % every == 0:
            model.eval()
            point = _scores(model, data['validation'])
            mean = {k: sum(s[k] for s in seen) / len(seen) for k in seen[0]}
            curve.append(dict(iteration=step + 1, **point, views=mean))
            seen.clear()
            model.train()
    model.eval()
    averaged.eval()
    result: dict[str, Any] = dict(
        validation=curve[-1] | dict(views=None, iteration=None),
        training=_scores(model, subset(images, min(len(images.labels), 3000), 0)),
        averaged=dict(validation=_scores(averaged.module, data['validation'])),
        depths=branch_depths(model, data['validation']),
        curve=curve,
        step_ms=1000 * seconds / run.iterations,
    )
    if run.seed < TEST_SEEDS:
        test = data['test'].labels
        logits = predict(model, data['test'])
        result['test'] = scores(logits, test)
        result['averaged']['test'] = _scores(averaged.module, data['test'])
        held_out = predict(model, data['validation'])
        temperature = fitted_temperature(held_out, data['validation'].labels)
        result['scaled'] = dict(
            temperature=temperature, test=scores(logits / temperature, test)
        )
    result['validation'] = {
        k: v for k, v in result['validation'].items() if v is not None
    }
    result['seconds'] = time.process_time() - begin
    return rounded(result)


def _scores(model: nn.Module, data: Images) -> dict[str, float]:
    return scores(predict(model, data), data.labels)


def clock_of(device: str) -> Clock:
    """What tells the time: that of the processor, which others' work does not change.

    Of a GPU it is the hour, which ticks on while the processor waits for it.

    Args:
        device (str): Where the training is.
    """
    return time.process_time if device == 'cpu' else time.perf_counter


def rounded(value: Any) -> Any:
    """Numbers to five digits, so that records are small.

    Args:
        value: A number, or a dictionary or list of them, nested at will.
    """
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f'{value:.5g}') if isinstance(value, float) else value
