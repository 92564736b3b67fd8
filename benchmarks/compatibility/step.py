"""One step of any model, at a small size and without noise."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn

from mmcosub.config.model_settings import without_memory

from .stock import SIZE


def step(
    model: Any, batch: tuple, dtype: torch.dtype, keep_rates: bool = False
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Losses and gradients of one step, without noise."""
    model = model.to(dtype).train() or model
    quiet(model, dtype, keep_rates)
    torch.manual_seed(0)
    losses = model.loss(*copy.deepcopy(batch))
    total, terms = model.parse_losses(losses)
    total.backward()
    gradients = {
        name: p.grad for name, p in model.named_parameters() if p.grad is not None
    }
    return {k: float(v) for k, v in terms.items()}, gradients


def quiet(model: nn.Module, dtype: torch.dtype, keep_rates: bool) -> None:
    """Leave nothing to chance, or make the same of it for every row and view."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name in ('attn_drop', 'dropout', 'attn_drop_p'):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
        if type(module).__name__ == 'DropPath' and not keep_rates:
            module.drop_prob = 0.0
        if isinstance(module, nn.Conv2d):  # positions are float32 in some networks
            module.register_forward_pre_hook(lambda m, args: (args[0].to(m.weight),))
        if hasattr(module, '_build_bases'):  # SegNeXt's head starts from random ones
            module._build_bases = partial(_same_bases, module._build_bases, dtype)
        # Masks and refined points are compared at points drawn at random.
        if hasattr(module, '_seg_data_to_instance_data'):
            module.loss_by_feat = partial(_seeded, module.loss_by_feat)
        if hasattr(module, 'get_points_train'):
            module.get_points_train = partial(_seeded, module.get_points_train)


def _same_bases(
    build: Callable, dtype: torch.dtype, rows: int, *args: Any, **kwargs: Any
) -> torch.Tensor:
    return _seeded(build, 1, *args, **kwargs).to(dtype).repeat(rows, 1, 1)


def _seeded(function: Callable, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return function(*args, **kwargs)


def sized(model: ConfigDict, size: int | None) -> ConfigDict:
    """The model for images of another size, where its network has to know."""
    if size is None:
        return model
    model = copy.deepcopy(model)
    backbone = model.get('backbone') or {}
    for name in ('img_size', 'pretrain_img_size'):
        if name in backbone:
            backbone[name] = size
    if model.get('type') == 'TimmClassifier' and accepts_size(model['model_name']):
        model['img_size'] = size
    if 'train_cfg' in model and 'decode_head' not in model:
        del model['train_cfg']  # mixup is no matter here
    return model


def accepts_size(name: str) -> bool:
    """Whether a network of timm's takes a size."""
    import timm

    try:
        with without_memory():
            timm.create_model(name, img_size=SIZE)
    except Exception:  # whatever it objects to
        return False
    return True


LARGEST_CROP = 400
"""In pixels; MobileNetV3's head pools over 49 positions 8 pixels apart."""


def native_size(model: dict) -> int:
    """Size in pixels that a network is made for."""
    crop = (model.get('data_preprocessor') or {}).get('size')
    if crop:
        return min(max(crop), LARGEST_CROP)
    backbone = model.get('backbone') or {}
    size = backbone.get('img_size', 224)
    return int(size if isinstance(size, int) else size[0])


def make_batch(stock: Any, model: dict, size: int, dtype: torch.dtype) -> tuple:
    """Two images with labels."""
    images = torch.randn(2, 3, size, size, dtype=dtype)
    if 'decode_head' not in model:
        head = model.get('head') or model
        classes = head.get('num_classes', 10)
        samples = []
        for label in torch.randint(0, classes, (2,)):
            score = nn.functional.one_hot(label, classes).to(dtype)
            samples.append(DataSample().set_gt_label(label).set_gt_score(score))
        return images, samples
    classes = stock.num_classes
    shape = (size, size)
    names = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    meta = dict(dict.fromkeys(names, shape), padding_size=[0] * 4)
    samples = []
    for _ in range(2):
        label = torch.randint(0, max(classes, 2), (1, *shape))
        edges = torch.randint(0, 2, (1, *shape))
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=label),
                gt_edge_map=PixelData(data=edges),
                metainfo=meta,
            )
        )
    return images, samples
