"""Every known block, in a tiny network and in the smallest that people train."""

import copy
import warnings

import mmcv.cnn.bricks.drop
import numpy as np
import pytest
import timm.layers.drop
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from networks import DROP_TWICE, NEVER_DROP, TINY
from networks.timm_networks import timm_config
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub.submodels import (
    BernoulliSampler,
    Plan,
    fastest_exact,
    find_branches,
    is_exact,
    known_blocks,
    plan_generator,
    run_submodels,
)

TAU = 0.4


SMALLEST = {
    'DeiT-T': dict(
        type='mmpretrain.VisionTransformer',
        arch='deit-tiny',
        img_size=64,
        layer_scale_init_value=1e-4,
    ),
    'Swin-T': dict(
        type='mmpretrain.SwinTransformer', arch='tiny', img_size=64, pad_small_map=True
    ),
    'SwinV2-T': dict(
        type='mmpretrain.SwinTransformerV2',
        arch='tiny',
        img_size=64,
        window_size=8,
        pad_small_map=True,
    ),
    'ConvNeXt-A': dict(type='mmpretrain.ConvNeXt', arch='atto'),
    'ResNet-18': dict(type='mmpretrain.ResNet', depth=18),
    'XCiT-N': dict(
        type='mmpretrain.XCiT', embed_dims=128, depth=12, num_heads=4, img_size=64
    ),
    'RegNetY-200MF': timm_config('regnety_002'),
    'PiT-Ti': timm_config('pit_ti_224', img_size=64),
}


def build(config):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of old arguments, by mmcv and torch
        model = stock(config)
    for parameter in model.parameters():
        if parameter.numel():
            nn.init.normal_(parameter, std=0.3)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # it would be other noise in every run
    model.train()
    return model


def stock(config):
    if callable(config):
        return config(TAU)
    config = {'drop_path_rate': TAU, **copy.deepcopy(config)}
    if config['drop_path_rate'] is None:  # the network takes no such argument
        del config['drop_path_rate']
    return MODELS.build(config)


def freeze_norms(model):
    """BatchNorm in evaluation mode: rows are independent, forms comparable."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def draw(sites, batch, rates, views=2, seed=0):
    rng = plan_generator(seed, 0)
    keep = [BernoulliSampler()(rates, batch, rng) for _ in range(views)]
    return Plan.from_keep(np.stack(keep, axis=1), rates)


def run(model, images, plan, execution):
    model.zero_grad()
    outputs, _ = run_submodels(model, images, plan, find_branches(model), execution)
    sum(
        (o * torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view_as(o)).sum()
        for o in outputs
    ).backward()
    return outputs, {name: p.grad for name, p in model.named_parameters()}


def assert_fast_equals_plain(model, images, rate, tolerance):
    freeze_norms(model)
    sites = find_branches(model)
    plan = draw(sites, len(images), np.full(len(sites), rate))
    outputs, grads = run(model, images, plan, 'plain')
    shares = is_exact(model, images, sites, 'shared_prefix')
    for execution in ['kept_rows', 'shared_prefix'][: 1 + shares]:
        fast_outputs, fast_grads = run(model, images, plan, execution)
        for a, b in zip(fast_outputs, outputs, strict=True):
            scale = b.abs().max()
            torch.testing.assert_close(a / scale, b / scale, rtol=0, atol=tolerance)
        for name, grad in grads.items():
            if grad is None:  # such as a norm that its block never uses
                assert fast_grads[name] is None or not fast_grads[name].any(), name
                continue
            scale = grad.abs().max().clamp_min(1)
            error = (fast_grads[name] - grad).abs().max() / scale
            assert error < tolerance, name


@pytest.mark.parametrize('name', TINY)
@pytest.mark.parametrize(('batch', 'rate'), [(1, 0.7), (3, 0.3)])
def test_fast_equals_plain(name, batch, rate):
    if name in ('mmpretrain TinyViT', 'timm XCiT') and batch == 1:
        # torch's BatchNorm mistakes the layout of the gradient of a single image's
        # tokens, with the stock network as well.
        batch = 2
    images = torch.randn(batch, 3, 32, 32, dtype=torch.float64)
    assert_fast_equals_plain(build(TINY[name]).double(), images, rate, 1e-10)


@pytest.mark.parametrize('name', SMALLEST)
def test_smallest_of_each_architecture(name):
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = MODELS.build({'drop_path_rate': TAU, **SMALLEST[name]})
    model.train()
    assert_fast_equals_plain(model, torch.randn(2, 3, 64, 64), 0.3, 1e-4)


@pytest.mark.parametrize('name', TINY)
def test_plain_equals_stock_drop_path(name, monkeypatch):
    if name == 'mmpretrain SwinV2':
        pytest.skip('its stock drop path is wrong: see test_swin_v2_of_mmpretrain')
    if name in NEVER_DROP:
        pytest.skip('the stock network never drops: see test_no_drop_path_of_its_own')
    model = build(TINY[name]).double()
    if name in DROP_TWICE:
        known = {site.drop_path for site in find_branches(model)}
        for module in set(drop_paths(model)) - known:
            module.drop_prob = 0.0
    stock, plain = stock_and_plain(model, monkeypatch)
    for a, b in zip(plain, stock, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('name', sorted(NEVER_DROP))
def test_no_drop_path_of_its_own(name):
    model = build(TINY[name])
    assert any(site.rate for site in find_branches(model))
    images = torch.randn(2, 3, 32, 32)
    freeze_norms(model)
    for a, b in zip(model(images), model(images), strict=True):
        torch.testing.assert_close(a, b)


def drop_paths(model):
    return [m for m in model.modules() if type(m).__name__ == 'DropPath']


def stock_and_plain(model, monkeypatch):
    """Outputs with the same draws in the stock drop path and in a plan."""
    sites = find_branches(model)
    rates = np.array([site.rate for site in sites])
    plan = draw(sites, 3, rates, views=1)
    draws = iter(
        torch.from_numpy(factors[0])
        for factors, rate in zip(plan.multipliers, rates, strict=True)
        if rate
    )

    def forward(self, x):
        if not self.drop_prob:
            return x
        return x * next(draws).view(-1, *[1] * (x.ndim - 1))

    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    with monkeypatch.context() as patch:
        for module in (mmcv.cnn.bricks.drop, timm.layers.drop):
            patch.setattr(module.DropPath, 'forward', forward)
        stock = model(images)
    assert next(draws, None) is None
    return stock, run_submodels(model, images, plan, sites, 'plain')[0]


def test_swin_v2_of_mmpretrain(monkeypatch):
    # The stock block drops before its norm, which leaves the norm's bias of a dropped
    # branch. Without biases and at a scale that the norm undoes, the two agree.
    model = build(TINY['mmpretrain SwinV2']).double()
    stock, plain = stock_and_plain(model, monkeypatch)
    assert not torch.allclose(plain[-1], stock[-1])
    model.drop_path_rate = 0
    sites = find_branches(model)
    dropped = Plan(np.zeros((len(sites), 1, 2)))
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    (first, _), _ = run_submodels(model, images, dropped, sites, 'plain')
    for block in model.stages[0].blocks:  # branches that end in nothing at all
        for norm in (block.norm1, block.norm2):
            nn.init.zeros_(norm.weight), nn.init.zeros_(norm.bias)
    torch.testing.assert_close(first, model(images)[0])


@pytest.mark.parametrize('name', TINY)
def test_full_network_is_the_stock_network(name):
    model = build(TINY[name])
    for module in drop_paths(model):
        module.drop_prob = 0.0
    sites = find_branches(model)
    images = torch.randn(2, 3, 32, 32)
    stock = model(images)
    plan = Plan(np.ones((len(sites), 1, 2)))
    shares = is_exact(model, images, sites, 'shared_prefix')
    execution = 'shared_prefix' if shares else 'kept_rows'
    outputs, _ = run_submodels(model, images, plan, sites, execution)
    for a, b in zip(outputs, stock, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('name', sorted(set(TINY) - DROP_TWICE))
def test_every_known_branch_is_seen(name):
    model = build(TINY[name])
    acting = []
    for module in drop_paths(model):
        if module.drop_prob:
            module.register_forward_hook(lambda m, *_: acting.append(m))
    model(torch.randn(2, 3, 32, 32))
    assert set(acting) <= {site.drop_path for site in find_branches(model)}


def test_default_is_exact():
    assert fastest_exact(build(TINY['timm ViT'])) == 'shared_prefix'
    # BatchNorm in a branch sees how many rows there are.
    for name in ('mmpretrain XCiT', 'timm XCiT', 'timm RegNetY'):
        assert fastest_exact(build(TINY[name])) == 'plain'
    model = build(TINY['timm RegNetY'])
    freeze_norms(model)
    assert fastest_exact(model) == 'shared_prefix'


FIXED_BATCH = {
    'mmpretrain CSPDarkNet',
    'mmpretrain CSPResNet',
    'mmpretrain Conformer',
    'mmpretrain HRNet',
    'mmpretrain HiViT',
    'mmpretrain Twins-PCPVT',
    'mmpretrain Twins-SVT',
    'mmpretrain XCiT',
    'mmseg BiSeNetV1',
    'mmseg BiSeNetV2',
    'mmseg CGNet',
    'mmseg DDRNet',
    'mmseg Fast-SCNN',
    'mmseg HRNet',
    'mmseg MSCAN',
    'mmseg PIDNet',
    'mmseg Twins-PCPVT',
    'mmseg Twins-SVT',
    'timm CAFormer',
    'timm DINOv3',
    'timm EVA-02, features',
    'timm PVTv2',
    'timm PiT',
    'timm Qwen3',
    'timm Twins',
    'timm ViT, features',
}


@pytest.mark.parametrize('name', TINY)
def test_rows_that_cannot_grow_are_seen(name):
    model, images = build(TINY[name]), torch.randn(2, 3, 32, 32)
    shares = is_exact(model, images, find_branches(model), 'shared_prefix')
    assert shares == (name not in FIXED_BATCH)


def test_kept_rows_with_batch_norm_is_another_method():
    # By name it runs; its statistics are those of the rows that keep the branch.
    model = build(TINY['timm RegNetY'])
    sites = find_branches(model)
    plan = draw(sites, 4, np.full(len(sites), 0.5))
    images = torch.randn(4, 3, 64, 64)
    plain, _ = run_submodels(model, images, plan, sites, 'plain')
    kept, work = run_submodels(model, images, plan, sites, 'kept_rows')
    assert work < 0.7
    assert not torch.allclose(kept[-1], plain[-1])


def test_all_blocks_are_tested():
    from tiny import BACKBONES, backbone

    models = [build(config) for config in TINY.values()]
    models += [backbone(name) for name in BACKBONES]
    seen = {
        f'{cls.__module__}.{cls.__qualname__}'
        for model in models
        for module in model.modules()
        for cls in type(module).__mro__
    }
    stack = {name for name in known_blocks() if name.startswith(('mm', 'timm.'))}
    # It has no branch of its own, and runs by its drop paths: see test_drop_paths.
    assert stack - {'timm.models.mobilevit.MobileVitBlock'} <= seen
