"""Training and prediction steps on random images, for FLOPs and timing.

Shapes: ``B`` images, ``C`` classes.
"""

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
from mmcosub.fast.attention import accelerate_attention

Batch = tuple[Tensor, list]
Shape = tuple[int, int]
DEFAULT_SHAPES: dict[str, Shape] = {'mmseg': (512, 512), 'mmpretrain': (224, 224)}
"""Default height and width of images, by default scope."""


def image_shape(given: Sequence[int] | None, cfg: Config) -> Shape:
    """Return height and width of images.

    Args:
        given (Sequence[int], optional): One or two numbers. Defaults to None:
            :data:`DEFAULT_SHAPES`.
        cfg (Config): The config.

    Raises:
        ValueError: If there are more numbers, or one is below 1.
    """
    scope = cfg.get('default_scope') or 'mmseg'
    shape = tuple(given or DEFAULT_SHAPES.get(scope, (512, 512)))
    if len(shape) > 2 or min(shape) < 1:
        raise ValueError(
            f'The shape {shape} is not valid: give height and width, 1 or more.'
        )
    return shape[0], shape[-1]


def build_model(cfg: Config, scheme: dict | None = None) -> Any:
    """Build a config's model with random weights, as training does.

    Args:
        cfg (Config): The config; with ``fast``, faster parts are built.
        scheme (dict, optional): Config of the scheme. Defaults to None: the baseline.
    """
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    model: Any = model_settings(cfg)
    if cfg.get('fast'):
        model = accelerated_model(model)
    if scheme:
        model = co_trained_model(model, scheme)
    built = MODELS.build(model)
    if cfg.get('fast'):
        accelerate_attention(built)
    return built


def random_batch(model: nn.Module, shape: Shape, batch: int) -> Batch:
    """Return random images and labels that a model takes.

    Args:
        model (nn.Module): A segmentor or classifier.
        shape (tuple[int, int]): Height and width of the images.
        batch (int): Number of images B.

    Returns:
        tuple: Images of shape (B, channels, height, width), and their samples.
    """
    device = next(model.parameters()).device
    images = torch.randn(batch, input_channels(model), *shape, device=device)
    head: Any = getattr(model, 'decode_head', None)
    if head is None:
        return images, [_classified(model, device) for _ in range(batch)]
    last: Any = head[-1] if isinstance(head, nn.ModuleList) else head
    meta = dict(
        img_shape=shape, ori_shape=shape, pad_shape=shape, padding_size=[0, 0, 0, 0]
    )
    labels = torch.randint(last.num_classes, (batch, 1, *shape), device=device)
    return images, [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=meta)
        for label in labels
    ]


def input_channels(model: nn.Module) -> int:
    """Return the number of channels of a model's images.

    Args:
        model (nn.Module): A model or backbone. Without a convolution, the number is 3.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return 3


def _classified(model: Any, device: torch.device) -> DataSample:
    """Return a sample of class 0, as a label and as scores for any loss."""
    head: Any = getattr(model, 'head', None)
    classes = getattr(head, 'num_classes', None) or model.num_classes
    sample = DataSample(num_classes=classes)
    sample.set_gt_label(torch.zeros(1, dtype=torch.long, device=device))
    if not _takes_labels(getattr(head, 'loss_module', None) or model.loss_module):
        sample.set_gt_score(torch.eye(classes, device=device)[0])
    return sample


def _takes_labels(loss: nn.Module) -> bool:
    """Return True if a loss takes class indices rather than scores."""
    sigmoid = getattr(loss, 'use_sigmoid', False) or getattr(loss, 'use_soft', False)
    return not sigmoid and 'Binary' not in type(loss).__name__


def training_step(model: Any, batch: Batch) -> None:
    """Run forward and backward, as in training, without an optimizer.

    Args:
        model (nn.Module): A segmentor or classifier in training mode.
        batch (tuple): Batch of :func:`random_batch`.
    """
    model.zero_grad(set_to_none=True)
    total, _ = model.parse_losses(model.loss(*batch))
    total.backward()


@torch.inference_mode()
def predicting_step(model: Any, batch: Batch) -> None:
    """Predict classes at the images' resolution.

    Args:
        model (nn.Module): A segmentor or classifier in evaluation mode.
        batch (tuple): Batch of :func:`random_batch`.
    """
    model(*batch, mode='predict')
