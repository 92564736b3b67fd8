"""Training and prediction steps on random images, for FLOPs and timing."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmcosub.config.co_train import accelerated_model, co_trained_model
from mmcosub.config.model_settings import model_settings
from mmcosub.engine.prediction import steps_of_pipeline
from mmcosub.fast.attention import accelerate_attention

Batch = tuple[Tensor, list]
Shape = tuple[int, int]


def image_shape(given: Sequence[int] | None, cfg: Config) -> Shape:
    """Return height and width, from one or two numbers or the scope's default."""
    default = 224 if cfg.get('default_scope') == 'mmpretrain' else 512
    shape = tuple(given or (default,))
    if len(shape) > 2 or min(shape) < 1:
        raise ValueError(
            f'The shape {shape} is not valid: give height and width, 1 or more.'
        )
    return shape[0], shape[-1]


def evaluation_shape(cfg: Config, given: Sequence[int] | None = None) -> Shape:
    """Return height and width of the images in evaluation, as given or configured.

    In this order: those of windows, of padding, of a classifier's test pipeline, of a
    ``crop_size`` of the config, of the backbone.
    """
    model = cfg.model
    size = (
        given
        or (model.get('test_cfg') or {}).get('crop_size')
        or (model.get('data_preprocessor') or {}).get('size')
        or _size_of_pipeline(cfg)
        or cfg.get('crop_size')
        or (model.get('backbone') or model).get('img_size')  # itself: timm's
    )
    return image_shape([size] if isinstance(size, int) else size, cfg)


def _size_of_pipeline(cfg: Config) -> Sequence[int] | int | None:
    """Return the size of a classifier's images behind the steps of its test pipeline.

    None if it varies. Sizes of steps are (width, height).
    """
    size = None
    for step in [] if 'decode_head' in cfg.model else steps_of_pipeline(cfg):
        name = str(step['type'])
        if 'ResizeEdge' in name or step.get('keep_ratio'):
            size = None
        elif 'Resize' in name or 'CenterCrop' in name:
            size = step.get('scale') or step.get('crop_size')
    return size[::-1] if isinstance(size, Sequence) else size


def build_model(cfg: Config, scheme: dict | None = None) -> Any:
    """Build a model with random weights as training does, co-trained with a scheme."""
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    fast, model = cfg.get('fast'), model_settings(cfg)
    model = accelerated_model(model) if fast else model
    built = MODELS.build(co_trained_model(model, scheme) if scheme else model)
    if fast:
        accelerate_attention(built)
    return built


def random_batch(model: nn.Module, shape: Shape, batch: int) -> Batch:
    """Return random images (B, channels, height, width) and their labelled samples."""
    device = next(model.parameters()).device
    images = torch.randn(batch, input_channels(model), *shape, device=device)
    head: Any = getattr(model, 'decode_head', None)
    if head is None:
        return images, [_classified(model, device) for _ in range(batch)]
    last: Any = head[-1] if isinstance(head, nn.ModuleList) else head
    shapes = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), shape)
    meta = dict(shapes, padding_size=[0, 0, 0, 0])
    labels = torch.randint(last.num_classes, (batch, 1, *shape), device=device)
    return images, [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=meta)
        for label in labels
    ]


def input_channels(model: nn.Module) -> int:
    """Return the number of channels of a model's images; 3 without a convolution."""
    found = (m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    return next(found, 3)


def flips_channels(model: Any) -> bool:
    """Return True if the data preprocessor, mmpretrain's or mmseg's, reverses them."""
    names = ('to_rgb', '_channel_conversion', 'channel_conversion')
    return any(getattr(model.data_preprocessor, name, False) for name in names)


def _classified(model: Any, device: torch.device) -> DataSample:
    """Return a sample of class 0, with scores for losses that take no class indices."""
    head: Any = getattr(model, 'head', None)
    parts = (head, model, getattr(model, 'model', None))  # the last: timm's
    classes = next(n for p in parts if (n := getattr(p, 'num_classes', None)))
    sample = DataSample(num_classes=classes)
    sample.set_gt_label(torch.zeros(1, dtype=torch.long, device=device))
    loss = getattr(head, 'loss_module', None) or model.loss_module
    soft = getattr(loss, 'use_sigmoid', False) or getattr(loss, 'use_soft', False)
    if soft or 'Binary' in type(loss).__name__:
        sample.set_gt_score(torch.eye(classes, device=device)[0])
    return sample


def training_step(model: Any, batch: Batch) -> None:
    """Run forward and backward, as in training, without an optimizer."""
    model.zero_grad(set_to_none=True)
    total, _ = model.parse_losses(model.loss(*batch))
    total.backward()


@torch.inference_mode()
def predicting_step(model: Any, batch: Batch) -> None:
    """Predict classes at the images' resolution."""
    model(*batch, mode='predict')
