"""Nothing in a co-trained step waits for the device.

On a GPU by PyTorch's own check. On a CPU by the operations: those that have to know the
values of a tensor are refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import labelled_images, segmentor_config
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmcosub.config.co_train import accelerated_model, co_trained_model
from mmcosub.fast.attention import accelerate_attention

pytestmark = pytest.mark.gpu
aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten._unique2,
}


class Refuse(TorchDispatchMode):
    """Raises at an operation that would wait for the device."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        masked = func.overloadpacket in (aten.index, aten.index_put_) and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if masked or func.overloadpacket in WAITS:
            raise RuntimeError(f'{func} waits for the device')
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waiting() -> Iterator[None]:
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode('error')
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode('default')
    else:
        with Refuse():
            yield


SCHEMES = [
    dict(type='Cosub'),
    dict(type='Cosub', execution='plain'),
    dict(type='Cosub', paired=0.5),
    dict(type='Cosub', paired=0.5, execution='kept_rows'),
    dict(type='Cosub', drop_path_rate=0.5, drop_path_decay='linear'),
    dict(type='AugPath'),
    dict(type='AugMask'),
    dict(type='AugDrop'),
    dict(type='Stimulative'),
    dict(type='GroupKnowledge'),
    dict(type='StochasticDepth'),
]


@pytest.mark.parametrize('name', ['mmpretrain Swin', 'mmpretrain ViT', 'mmseg ViT'])
@pytest.mark.parametrize(
    'scheme', SCHEMES, ids=lambda s: '-'.join(map(str, s.values()))
)
@pytest.mark.sweep(every=2)
def test_segmentor(name: str, scheme: dict) -> None:
    init_default_scope('mmseg')
    cfg = segmentor_config(name)
    cfg['decode_head']['loss_decode']['class_weight'] = [1.0, 2.0, 0.5, 1.0, 3.0]
    model = MODELS.build(co_trained_model(accelerated_model(cfg), scheme)).train()
    accelerate_attention(model)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    images, samples = labelled_images(size=(64, 64))
    model, images = model.to(device), images.to(device)
    samples = [sample.to(device) for sample in samples]
    step(model, images, samples)  # fills what is made once a device and size
    with no_waiting():
        step(model, images, samples)


def step(model: nn.Module, images: torch.Tensor, samples: list) -> None:
    losses = model.loss(images, samples)
    sum(v for k, v in losses.items() if 'loss' in k).backward()


@pytest.mark.parametrize(
    'waits',
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: (x > 0).nonzero(),
        lambda x: x.unique(),
    ],
)
def test_the_check_can_fail(waits: Any) -> None:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    with pytest.raises(RuntimeError), no_waiting():
        waits(torch.randn(4, device=device))
