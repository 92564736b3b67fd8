"""Off the CPU, fast parts launch at most twice the kernels of stock ones at any batch.

Counted on meta tensors: what is computed is that of tests/ops, models/heads and
models/attention, which run the same functions on a CPU.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from kernels import Kernels
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmpretrain.models.utils import ShiftWindowMSA
from mmseg.models.backbones import swin
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.fx.experimental import _config

from mmcosub.fast.attention import accelerate_attention

CHANNELS = (96, 192, 384, 768)
HEADS: dict[str, dict] = {
    'UPerHead': dict(pool_scales=(1, 2, 3, 6)),
    'PSPHead': dict(pool_scales=(1, 2, 3, 6)),
    'SegformerHead': dict(),
    'FCNHead': dict(),
}


@pytest.fixture(autouse=True)
def stock_accuracy() -> Iterator[None]:
    """mmseg's accuracy picks values by a mask, which meta tensors do not know."""
    with _config.patch(meta_nonzero_assume_all_nonzero=True):
        yield


def head(kind: str) -> Any:
    stock = kind.removeprefix('mmcosub.Fast')
    several = stock in ('UPerHead', 'SegformerHead')
    cfg = dict(
        type=kind,
        in_channels=list(CHANNELS) if several else CHANNELS[2],
        in_index=[0, 1, 2, 3] if several else 2,
        channels=64,
        num_classes=150,
        align_corners=False,
        norm_cfg=dict(type='BN'),
        **HEADS[stock],
    )
    init_default_scope('mmseg')
    return MODELS.build(cfg).to('meta').train()


def features(batch: int, size: int) -> list[Tensor]:
    return [
        torch.empty(batch, c, size >> i, size >> i, device='meta', requires_grad=True)
        for i, c in enumerate(CHANNELS)
    ]


def samples(batch: int, size: int) -> list[SegDataSample]:
    label = torch.zeros(1, size, size, dtype=torch.long, device='meta')
    return [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in range(batch)]


def count(call: Any) -> tuple[Counter[str], Counter[str]]:
    """Kernels of a call, forward and backward; what is made once is there."""
    call()
    with Kernels() as forward:
        out = call()
    with Kernels() as backward:
        out.backward(torch.empty_like(out))
    return forward.names, backward.names


def assert_at_most_twice(fast: Any, stock: Any) -> None:
    for got, limit in zip(fast, stock, strict=True):
        assert 0 < got.total() <= 2 * limit.total(), (got, limit)


@pytest.mark.parametrize('kind', ['UPerHead', 'PSPHead', 'SegformerHead'])
@pytest.mark.parametrize('batch', [2, 32])
def test_head(kind: str, batch: int) -> None:
    maps = features(batch, 128)
    fast, stock = head(f'mmcosub.Fast{kind}'), head(kind)
    assert_at_most_twice(count(lambda: fast(maps)), count(lambda: stock(maps)))


@pytest.mark.parametrize(('size', 'labels'), [(128, 512), (128, 128)])
@pytest.mark.parametrize('batch', [2, 32])
def test_label_loss(size: int, labels: int, batch: int) -> None:
    logits = torch.empty(batch, 150, size, size, device='meta', requires_grad=True)
    data = samples(batch, labels)

    def losses(name: str) -> Any:
        module = head(name)
        return count(lambda: module.loss_by_feat(logits, data)['loss_ce'])

    fast, stock = losses('mmcosub.FastFCNHead'), losses('FCNHead')
    if size == labels:  # nothing is resized
        assert not {'mm', 'bmm'} & set(fast[0])
    together = [sum(counts, Counter()) for counts in (fast, stock)]
    assert 0 < together[0].total() <= 2 * together[1].total(), together


@pytest.mark.parametrize('kind', [ShiftWindowMSA, swin.ShiftWindowMSA])
@pytest.mark.parametrize('size', [(14, 14), (16, 12)])
@pytest.mark.parametrize('shift', [0, 3])
@pytest.mark.parametrize('batch', [2, 32])
def test_windowed_attention(kind: Any, size: tuple, shift: int, batch: int) -> None:
    counts = []
    for fast in (True, False):
        module = kind(embed_dims=64, num_heads=2, window_size=7, shift_size=shift)
        assert accelerate_attention(nn.Sequential(module)) == 1 or not fast
        if not fast:
            module.__class__ = kind
        module = module.to('meta')
        length = size[0] * size[1]
        x = torch.empty(batch, length, 64, device='meta', requires_grad=True)
        counts.append(count(lambda m=module, x=x: m(x, size)))
    assert_at_most_twice(*counts)
    # Their gradient is sorted and summed up in series.
    assert not {'index', 'index_put_', '_index_put_impl_'} & set(
        sum(counts[0], Counter())
    )
