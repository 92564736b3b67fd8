"""The faster attentions compute what the stock ones do."""

import copy
import pickle

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmpretrain.models.utils import ShiftWindowMSA, WindowMSAV2
from mmseg.models.backbones import swin
from mmseg.models.backbones.mit import EfficientMultiheadAttention
from tiny import backbone
from torch import nn

import mmcosub.fast.attention as shift_window
from mmcosub import registry
from mmcosub.fast.attention import accelerate_attention
from mmcosub.fast.window_attention import _by_kernel
from mmcosub.fast.window_layout import window_layout
from mmcosub.submodels import (
    BernoulliSampler,
    Plan,
    find_branches,
    plan_generator,
    run_submodels,
)

BACKBONES = ('mmpretrain Swin', 'mmseg Swin', 'mmseg ViT', 'mmseg MiT')


@pytest.fixture(params=['chunks', 'kernel'])
def way(request, monkeypatch):
    """Both ways of windowed attention: a CPU's, and that of everything else."""
    if request.param == 'kernel':
        monkeypatch.setattr(shift_window, 'window_attention', _by_kernel)
    else:  # a chunk of every size, not all windows in one
        module = shift_window.window_attention.__globals__
        monkeypatch.setitem(module, '_CHUNK', 2**9)
    return request.param


@pytest.fixture
def messages(monkeypatch):
    registry.log_once.cache_clear()
    found = []
    monkeypatch.setattr(registry, 'print_log', lambda text, *_: found.append(text))
    yield found
    registry.log_once.cache_clear()


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.double()


def pair(kind, shift=2, channels=8, **kwargs):
    """A faster attention and the stock one."""
    torch.manual_seed(0)
    args = dict(embed_dims=channels, num_heads=2, window_size=4, shift_size=shift)
    stock = randomised(kind(**args, **kwargs))
    fast = copy.deepcopy(stock)
    assert accelerate_attention(nn.Sequential(fast)) == 1
    assert type(fast) is not type(stock)
    return fast, stock


def run(module, x, *args):
    """Output, gradients of the input and of all parameters."""
    x = x.detach().requires_grad_()
    module.zero_grad()
    out = module(x, *args)
    (
        out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    ).sum().backward()
    return [out, x.grad, *(p.grad for p in module.parameters())]


def assert_same(got, expected, tolerance=1e-11):
    for a, b in zip(got, expected, strict=True):
        if b is None:
            assert a is None
            continue
        scale = b.abs().max().clamp_min(1) if b.numel() else 1
        torch.testing.assert_close(a / scale, b / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize('kind', [ShiftWindowMSA, swin.ShiftWindowMSA])
@pytest.mark.parametrize(
    ('batch', 'size', 'shift', 'options'),
    [
        (2, (8, 8), 2, {}),
        (1, (8, 8), 0, {}),
        (3, (5, 11), 2, {}),
        (2, (9, 6), 0, {}),
        (2, (4, 4), 2, {}),
        (1, (4, 9), 3, {}),
        (2, (3, 2), 1, dict(qkv_bias=False)),
        (2, (7, 5), 1, dict(qkv_bias=False, qk_scale=0.9)),
        (0, (6, 6), 2, {}),
    ],
)
def test_windowed(way, kind, batch, size, shift, options):
    if kind is ShiftWindowMSA:
        options = dict(options, pad_small_map=True)
    fast, stock = pair(kind, shift, **options)
    x = torch.randn(batch, size[0] * size[1], 8, dtype=torch.float64)
    if not batch:  # which the stock one cannot do at all
        outputs = run(fast, x, size)
        assert outputs[0].shape == x.shape
        assert all((grad == 0).all() for grad in outputs[2:])
        return
    assert_same(run(fast, x, size), run(stock, x, size))


@pytest.mark.parametrize('size', [(4, 4), (4, 12), (5, 9), (2, 8)])
def test_small_maps_that_are_not_padded(size):
    """A map of the window's size is not shifted; a smaller one is refused."""
    fast, stock = pair(ShiftWindowMSA)
    x = torch.randn(2, size[0] * size[1], 8, dtype=torch.float64)
    if min(size) < 4:
        with pytest.raises(AssertionError, match='smaller than the window'):
            fast(x, size)
    else:
        assert_same(run(fast, x, size), run(stock, x, size))


def test_a_size_that_is_none():
    fast, _ = pair(swin.ShiftWindowMSA)
    with pytest.raises(AssertionError):
        fast(torch.randn(1, 30, 8, dtype=torch.float64), (4, 8))


@pytest.mark.parametrize('kind', [MultiheadAttention, EfficientMultiheadAttention])
@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize('tokens', [1, 12, 35])
def test_multi_head(kind, batch_first, tokens):
    torch.manual_seed(0)
    stock = randomised(kind(8, 2, batch_first=batch_first))
    fast = copy.deepcopy(stock)
    assert accelerate_attention(fast) == 1
    x = torch.randn(3, tokens, 8, dtype=torch.float64)
    size = ((1, tokens),) if kind is EfficientMultiheadAttention else ()
    assert_same(run(fast, x, *size), run(stock, x, *size))
    mask = torch.rand(tokens, tokens) < 0.3
    mask.fill_diagonal_(False)
    x = x if batch_first else x.transpose(0, 1)
    if not size:
        torch.testing.assert_close(fast(x, attn_mask=mask), stock(x, attn_mask=mask))


def images_for(name, batch=3):
    size = (40, 24) if 'ViT' in name else (36, 52)
    return torch.randn(batch, 3, *size, dtype=torch.float64)


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint:UserWarning')
def test_backbones(name, with_cp):
    # Names, also in the state dict, are the stock ones; activation checkpointing works.
    stock = backbone(name, drop_path_rate=0.0, with_cp=with_cp).double()
    fast = pickle.loads(pickle.dumps(stock))
    assert accelerate_attention(fast) == 4
    assert accelerate_attention(fast) == 0
    assert list(fast.state_dict()) == list(stock.state_dict())
    fast.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(pickle.loads(pickle.dumps(fast)).state_dict(), strict=True)

    def outputs(model):
        x = images_for(name).requires_grad_()
        model.zero_grad()
        out = model(x)
        sum((o**2).sum() + o.sum() for o in out).backward()
        return [*out, *(p.grad for p in model.parameters())]

    torch.manual_seed(0)
    got = outputs(fast)
    torch.manual_seed(0)
    assert_same(got, outputs(stock))


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('batch', [1, 3])
def test_co_trained(name, batch):
    stock = backbone(name).double()
    fast = copy.deepcopy(stock)
    accelerate_attention(fast)
    images = images_for(name, batch)

    def outputs(model, execution):
        sites = find_branches(model)
        rates = np.full(len(sites), 0.5)
        rng = plan_generator(batch, 0)
        keep = [BernoulliSampler()(rates, batch, rng) for _ in range(2)]
        plan = Plan.from_keep(np.stack(keep, axis=1), rates)
        model.zero_grad()
        out, _ = run_submodels(model, images, plan, sites, execution)
        sum((o**2).sum() + o.sum() for o in out).backward()
        return [*out, *(p.grad for p in model.parameters())]

    expected = outputs(stock, 'plain')
    for execution in ('plain', 'kept_rows', 'shared_prefix'):
        assert_same(outputs(fast, execution), expected, 1e-10)


def test_attention_dropout():
    """Not the same draws, but from the same distribution; none when evaluating."""
    fast, stock = pair(swin.ShiftWindowMSA, attn_drop_rate=0.4)
    x, size = torch.randn(1, 30, 8, dtype=torch.float64), (5, 6)
    with torch.no_grad():
        draws = [torch.stack([m(x, size) for _ in range(600)]) for m in (fast, stock)]
        fast.eval(), stock.eval()
        exact = stock(x, size)
        torch.testing.assert_close(fast(x, size), exact)
    for drawn in draws:
        error = (drawn.mean(0) - exact) / (drawn.std(0) / len(drawn) ** 0.5)
        assert error.abs().max() < 5
    spread = [drawn.std(0) for drawn in draws]
    assert (spread[0] / spread[1]).mean() == pytest.approx(1, abs=0.03)
    assert spread[0].min() > 0


@pytest.mark.parametrize('kind', [ShiftWindowMSA, swin.ShiftWindowMSA])
def test_half_precision(way, kind):
    """Under autocast, no less exact than the stock way."""
    fast, stock = pair(kind)
    x, size = torch.randn(2, 130, 8, dtype=torch.float64), (10, 13)
    exact = run(stock, x, size)
    fast.float(), stock.float()
    errors = []
    for module in (fast, stock):
        with torch.autocast('cpu', torch.bfloat16):
            got = run(module, x.float(), size)
        assert got[0].dtype == torch.bfloat16
        errors.append(
            [
                ((a.double() - b).norm() / b.norm()).item()
                for a, b in zip(got, exact, strict=True)
            ]
        )
    for mine, stocks in zip(*errors, strict=True):
        assert mine < 1.5 * stocks


@pytest.mark.parametrize('part', ['', 'softmax', 'attn_drop'])
def test_hooks_are_called(part, messages):
    """With hooks on what is not called, the stock computation runs, as is said."""
    fast, stock = pair(swin.ShiftWindowMSA)
    x = torch.randn(2, 30, 8, dtype=torch.float64)
    seen = []
    fast.w_msa.get_submodule(part).register_forward_hook(lambda *a: seen.append(1))
    for _ in range(2):
        torch.testing.assert_close(fast(x, (5, 6)), stock(x, (5, 6)))
    assert seen == [1, 1]
    assert len(messages) == 1
    assert 'it has hooks' in messages[0]


def test_hooks_get_attention_weights(messages):
    fast, stock = (MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
    fast.load_state_dict(stock.state_dict())
    accelerate_attention(fast)
    weights = []
    for module in (fast, stock):
        module.attn.register_forward_hook(lambda *a: weights.append(a[-1][1]))
        module(torch.linspace(-1, 1, 96).view(3, 4, 8))
    torch.testing.assert_close(*weights)
    assert len(messages) == 1


def test_others_stay(messages):
    class Mine(ShiftWindowMSA):
        pass

    args = dict(embed_dims=8, num_heads=2, window_size=4)
    others = nn.ModuleList(
        [
            Mine(**args),
            ShiftWindowMSA(**args, window_msa=WindowMSAV2),
            ShiftWindowMSA(**args, window_msa=WindowMSAV2),
            nn.MultiheadAttention(8, 2),  # whose weights somebody may want
        ]
    )
    kinds = [type(m) for m in others]
    assert accelerate_attention(others) == 0
    assert [type(m) for m in others] == kinds
    assert len(messages) == 1
    assert 'WindowMSAV2' in messages[0]


def test_frozen(way):
    fast, stock = pair(swin.ShiftWindowMSA)
    x, size = torch.randn(2, 30, 8, dtype=torch.float64), (5, 6)
    for module in (fast, stock):
        module.w_msa.qkv.requires_grad_(False)
        module.w_msa.relative_position_bias_table.requires_grad_(False)
    assert_same(run(fast, x, size), run(stock, x, size))


def test_after_inference_mode(way):
    """What is kept from one call to the next is good for training, too."""
    window_layout.cache_clear()
    fast, stock = pair(swin.ShiftWindowMSA)
    x, size = torch.randn(2, 30, 8, dtype=torch.float64), (5, 6)
    with torch.inference_mode():
        fast(x, size)
    assert_same(run(fast, x, size), run(stock, x, size))


def test_second_derivative_is_refused():
    fast, _ = pair(swin.ShiftWindowMSA)
    x = torch.randn(1, 30, 8, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(fast(x, (5, 6)).sum(), x, create_graph=True)


@pytest.mark.filterwarnings('ignore:`torch.jit.trace:FutureWarning')
@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_traced():
    class OfOneSize(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x, (5, 6))

    fast, stock = pair(swin.ShiftWindowMSA)
    x = torch.randn(1, 30, 8, dtype=torch.float64)
    traced = torch.jit.trace(OfOneSize(fast), x, check_trace=False)
    y = torch.randn(1, 30, 8, dtype=torch.float64)
    torch.testing.assert_close(traced(y), stock(y, (5, 6)))
