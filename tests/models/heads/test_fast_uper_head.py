"""The fast head computes what the stock one does."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmcosub.ops import can_fuse, fused_conv


def plain(conv, levels, size, align_corners):
    resized = [
        F.interpolate(x, size, mode='bilinear', align_corners=align_corners)
        for x in levels
    ]
    return conv(torch.cat(resized, dim=1))


def assert_same(got, expected, inputs):
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    weight = torch.linspace(-1, 2, got.numel(), dtype=got.dtype).view_as(got)
    for a, b in zip(
        torch.autograd.grad((got * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=80, deadline=None)
@given(
    batch=st.integers(1, 3),
    size=sizes,
    others=st.lists(st.tuples(st.integers(1, 3), sizes), min_size=0, max_size=3),
    align_corners=st.booleans(),
    bias=st.booleans(),
    first=st.booleans(),
)
def test_fusion(batch, size, others, align_corners, bias, first):
    shapes = ([(2, size)] if first or not others else []) + others
    generator = torch.Generator().manual_seed(0)
    levels = [
        torch.randn(batch, c, *s, generator=generator, dtype=torch.float64)
        for c, s in shapes
    ]
    for level in levels:
        level.requires_grad_()
    conv = nn.Conv2d(sum(c for c, _ in shapes), 3, 3, padding=1, bias=bias).double()
    assert can_fuse(conv)
    got = fused_conv(conv, levels, size, align_corners)
    expected = plain(conv, levels, size, align_corners)
    assert_same(got, expected, [*levels, *conv.parameters()])


def heads(levels=3, **kwargs):
    init_default_scope('mmseg')
    cfg = dict(
        in_channels=[4, 6, 8, 10][:levels],
        in_index=list(range(levels)),
        pool_scales=(1, 2, 3),
        channels=5,
        num_classes=4,
        dropout_ratio=0.0,
        norm_cfg=dict(type='BN'),
        align_corners=False,
    )
    torch.manual_seed(0)
    stock = MODELS.build(dict(type='UPerHead', **{**cfg, **kwargs})).double()
    for parameter in stock.parameters():
        nn.init.normal_(parameter, std=0.3)
    fast = MODELS.build(dict(type='mmcosub.FastUPerHead', **{**cfg, **kwargs}))
    fast.double().load_state_dict(stock.state_dict(), strict=True)
    return fast, stock


def features(levels=3, batch=2, size=(16, 12)):
    generator = torch.Generator().manual_seed(1)
    maps = []
    for i, channels in enumerate([4, 6, 8, 10][:levels]):
        shape = [-(-s // 2**i) for s in size]
        x = torch.randn(batch, channels, *shape, generator=generator).double()
        maps.append(x.requires_grad_())
    return maps


@pytest.mark.parametrize('levels', [1, 2, 3, 4])
@pytest.mark.parametrize(
    ('size', 'align_corners'), [((16, 16), False), ((17, 11), False), ((13, 16), True)]
)
@pytest.mark.filterwarnings('ignore:When align_corners=True')
def test_head(levels, size, align_corners):
    fast, stock = heads(levels, align_corners=align_corners)
    for mode in (True, False):
        fast.train(mode), stock.train(mode)
        maps = features(levels, batch=3, size=size)
        got, expected = fast(maps), stock(maps)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
        outs = []
        for head, out in ((fast, got), (stock, expected)):
            weight = torch.linspace(-1, 2, out.numel()).double().view_as(out)
            inputs = [*maps, *head.parameters()]
            loss = (out * weight).sum()
            outs.append(torch.autograd.grad(loss, inputs, allow_unused=True))
        for a, b in zip(*outs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
    for a, b in zip(fast.buffers(), stock.buffers(), strict=True):
        torch.testing.assert_close(a, b)  # statistics of norms


def test_half_precision():
    fast, stock = (head.float().eval() for head in heads())
    maps = [x.detach().float() for x in features()]
    exact = stock(maps)
    with torch.autocast('cpu', torch.bfloat16):
        errors = [(head(maps) - exact).norm() / exact.norm() for head in (fast, stock)]
    assert errors[0] < 1.5 * errors[1] + 1e-3


@pytest.mark.parametrize(
    'change',
    [
        dict(dilation=(2, 2), padding=(2, 2)),
        dict(padding_mode='reflect'),
    ],
)
def test_other_convolutions_fall_back(change, monkeypatch):
    fast, stock = heads()
    said = []
    monkeypatch.setattr(
        'mmcosub.models.heads.fast_head.print_log', lambda *a: said.append(a[0])
    )
    for head in (fast, stock):
        conv = head.fpn_bottleneck.conv
        other = nn.Conv2d(
            conv.in_channels, conv.out_channels, 3, bias=False,
            **{'padding': 1, **change},
        ).double()  # fmt: skip
        other.weight = nn.Parameter(stock.fpn_bottleneck.conv.weight.detach().clone())
        head.fpn_bottleneck.conv = other
        head.eval()
    maps = features()
    for _ in range(2):
        torch.testing.assert_close(fast(maps), stock(maps))
    assert len(said) == 1
    assert 'stock computation' in said[0]
