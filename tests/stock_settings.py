"""Tiny models of every kind under a scheme, and one training step of them."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from tiny import BACKBONES, labelled_images, segmentor_config
from torch import Tensor, nn

from mmcosub.config.co_train import co_trained_model

RATE = 0.4

SCHEMES: dict[str, dict] = {
    'cosub': dict(type='Cosub', weight=0.6),
    'augdrop': dict(type='AugDrop'),
    'augpath': dict(type='AugPath'),
    'augmask': dict(type='AugMask'),
    # Of these networks' few blocks, a subnet is often all that drop path has left.
    'stimulative': dict(type='Stimulative', weight=0.7, seed=6),
    'gkt': dict(type='GroupKnowledge', groups=2, loops=2, weight=0.6, momentum=0.3),
    'collaboration': dict(type='Collaboration', output=0.8),
    'stochastic_depth': dict(type='StochasticDepth'),
}

RESNET = dict(
    type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=4,
    out_indices=(2, 3), drop_path_rate=RATE, norm_cfg=dict(type='BN'),
)  # fmt: skip


def segmentor() -> dict:
    """UperNet over a Swin."""
    return segmentor_config('mmpretrain Swin')


def segmentor_of_convolutions() -> dict:
    """UperNet over a ResNet, whose BatchNorms see the rows."""
    cfg = segmentor_config()
    cfg['backbone'] = copy.deepcopy(RESNET)
    cfg['decode_head'].update(in_channels=[16, 32])
    cfg['auxiliary_head'].update(in_channels=32)
    return cfg


def cascade() -> dict:
    """An FCN head and an OCR head behind it, over a Swin."""
    cfg = segmentor()
    cfg.update(type='CascadeEncoderDecoder', num_stages=2, auxiliary_head=None)
    common = dict(
        in_channels=16, in_index=1, channels=8, num_classes=5, dropout_ratio=0.0,
        norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'),
    )  # fmt: skip
    cfg['decode_head'] = [
        dict(type='FCNHead', num_convs=1, **common),
        dict(type='OCRHead', ocr_channels=8, **common),
    ]
    return cfg


def classifier() -> dict:
    """A linear classifier over a ViT."""
    backbone = copy.deepcopy(BACKBONES['mmpretrain ViT'])
    backbone.update(out_type='cls_token', out_indices=-1)
    loss = dict(type='CrossEntropyLoss')
    head = dict(type='LinearClsHead', num_classes=5, in_channels=16, loss=loss)
    return dict(type='ImageClassifier', backbone=backbone, head=head)


KINDS: dict[str, Callable[[], dict]] = {
    'segmentor': segmentor,
    'segmentor of convolutions': segmentor_of_convolutions,
    'cascade': cascade,
    'classifier': classifier,
}


def build(cfg: dict, scheme: dict | None) -> Any:
    """A model in float64 and training mode whose every parameter matters."""
    from mmengine.registry import MODELS

    init_default_scope('mmpretrain' if 'head' in cfg else 'mmseg')
    torch.manual_seed(0)
    cfg = copy.deepcopy(cfg)
    if scheme is not None:
        cfg = co_trained_model(cfg, {'seed': 7, **scheme})
    model = MODELS.build(cfg)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and 'norm' not in name and '.bn.' not in name:
            nn.init.normal_(parameter, std=0.2)
    model.train()
    return model.double()


def batch(model: Any, images: int = 3, classes: int = 5) -> dict:
    """Images and labels of a kind that the model learns from."""
    if hasattr(model, 'decode_head'):
        inputs, samples = labelled_images(images, classes, size=(64, 32))
        return dict(inputs=inputs.double(), data_samples=samples)
    inputs, _ = labelled_images(images)
    labels = [DataSample().set_gt_label(i % classes) for i in range(images)]
    return dict(inputs=inputs.double(), data_samples=labels)


class Recorder(torch.optim.SGD):
    """Keeps the gradients of every step, by position."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[list[Tensor | None]] = []

    def step(self, closure: Any = None) -> Any:
        """See ``Optimizer``."""
        grads = [p.grad for p in self.param_groups[0]['params']]
        self.seen.append([g if g is None else g.clone() for g in grads])
        return super().step(closure)


def train(
    model: Any,
    steps: int = 2,
    data: dict | None = None,
    wrapper: type[OptimWrapper] = OptimWrapper,
    **options: Any,
) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor | None]]]:
    """Train some steps.

    Returns:
        tuple: Logged values and gradients by name, of every step.
    """
    model.data_preprocessor.forward = lambda data, training: data
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = Recorder(parameters, lr=0.01)
    optim_wrapper = wrapper(optimizer=optimizer, **options)
    optim_wrapper.initialize_count_status(model, 0, steps)
    torch.manual_seed(1)
    data = data or batch(model)
    logs = [model.train_step(data, optim_wrapper) for _ in range(steps)]
    return logs, [dict(zip(names, seen, strict=True)) for seen in optimizer.seen]
