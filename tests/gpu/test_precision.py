"""Fast paths err no more than the plain ones do, in every precision of a device.

The plain computation in float64 tells how far each is off. On a GPU by `make gpu`; on a
CPU the same comparisons hold the tests themselves to what they say.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import labelled_images, segmentor_config
from torch import nn

from mmcosub.config.co_train import accelerated_model, co_trained_model
from mmcosub.fast.attention import accelerate_attention

pytestmark = pytest.mark.gpu
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
ON_GPU = DEVICE == 'cuda'
BATCH, SIZE = 3, (64, 48)
PRECISIONS = ['float32', 'float16', 'bfloat16'] + ['tf32'] * ON_GPU
SCHEMES = {
    'cosub': dict(type='Cosub', drop_path_rate=0.4),
    'linear': dict(type='Cosub', drop_path_rate=0.5, drop_path_decay='linear'),
    'augpath': dict(type='AugPath', ratio=0.5),
    'augmask': dict(type='AugMask'),
}


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Float32, with TensorFloat-32 or not, or autocast to half precision."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    tf32 = name == 'tf32'
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    half = name if 'float16' in name else 'bfloat16'
    try:
        with torch.autocast(DEVICE, getattr(torch, half), enabled='float16' in name):
            yield
    finally:
        allowed = torch.backends.cuda.matmul, torch.backends.cudnn
        for backend, value in zip(allowed, before, strict=True):
            backend.allow_tf32 = value


def built(name: str, scheme: dict, fast: bool) -> nn.Module:
    """The segmentor that a scheme trains, all fast or all plain, of equal weights."""
    cfg = segmentor_config(name)
    scheme = {**scheme, 'seed': 3, 'execution': 'auto' if fast else 'plain'}
    if fast:
        cfg = accelerated_model(cfg)
    torch.manual_seed(0)
    model = MODELS.build(co_trained_model(cfg, scheme)).train()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.15, generator=generator)
    if fast:
        accelerate_attention(model)
    return model


def trained(model: nn.Module, kind: str) -> torch.Tensor:
    """Loss and all gradients of a step, one after the other."""
    device, dtype = ('cpu', torch.float64) if kind == 'float64' else (DEVICE, None)
    images, samples = labelled_images(BATCH, size=SIZE)
    model, images = model.to(device, dtype), images.to(device, dtype)
    torch.manual_seed(0)
    with precision(kind):
        losses = model.loss(images, [sample.to(device) for sample in samples])
        loss = sum(v for k, v in losses.items() if 'loss' in k)
    loss.backward()
    found = [loss.detach().flatten()]
    found += [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat([part.cpu().double() for part in found])


@pytest.mark.parametrize('kind', PRECISIONS)
@pytest.mark.parametrize('scheme', SCHEMES)
@pytest.mark.parametrize('name', ['mmpretrain ViT', 'mmpretrain Swin', 'mmseg MiT'])
@pytest.mark.sweep(every=4)
def test_a_step(name: str, scheme: str, kind: str) -> None:
    init_default_scope('mmseg')
    chosen = SCHEMES[scheme]
    exact = trained(built(name, chosen, fast=False), 'float64')
    plain = trained(built(name, chosen, fast=False), kind)
    fast = trained(built(name, chosen, fast=True), kind)
    assert fast.shape == plain.shape == exact.shape
    scale = exact.norm()
    # What rounds once more is let off; what computes in a lower precision is not.
    few_roundings = 1e-5 if kind == 'float32' else 1e-3
    allowed = 1.5 * (plain - exact).norm() / scale + few_roundings
    assert (fast - exact).norm() / scale < allowed
