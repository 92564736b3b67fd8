import copy

import numpy as np
import pytest
import timm
import torch
from mmcv.cnn.bricks.drop import DropPath
from mmengine.registry import init_default_scope
from mmengine.runner import turn_on_activation_checkpointing
from mmpretrain.models.backbones import TNT
from mmseg.registry import MODELS
from timm.models import tnt as timm_tnt
from tiny import TAU, backbone, labelled_images, segmentor_config
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from mmcosub.config.co_train import co_trained_model
from mmcosub.registry import MODELS as OURS
from mmcosub.schemes import Cosub
from mmcosub.schemes.checks import find_scheme_sites
from mmcosub.submodels import (
    Plan,
    called_drop_paths,
    fastest_exact,
    find_branches,
    find_drop_paths,
    find_sites,
    plan_generator,
    run_submodels,
)
from mmcosub.submodels.drop_paths import always_kept

CONVNEXT = dict(
    type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 2], channels=[8, 16]),
    out_indices=(0, 1), gap_before_final_norm=False, drop_path_rate=TAU,
)  # fmt: skip


class Block(nn.Module):
    """Two branches and one drop path for both, of a class that nobody knows."""

    def __init__(self, channels, drop, with_cp=False):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 1)
        self.drop = drop
        self.with_cp = with_cp

    def forward(self, x):
        def inner(x):
            x = x + self.drop(self.first(x).tanh())
            return x + self.drop(self.second(x).tanh())

        if self.with_cp and x.requires_grad:
            return checkpoint(inner, x, use_reentrant=False)
        return inner(x)


DROPS = {
    'mmcv': DropPath,
    'torchvision': lambda rate: StochasticDepth(rate, 'row'),
}


@OURS.register_module()
class UnknownNetwork(nn.Module):
    """A stem and three such blocks."""

    def __init__(self, drop_path_rate=TAU, drop='mmcv', with_cp=False):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        rates = [drop_path_rate, drop_path_rate / 2, drop_path_rate]
        self.blocks = nn.ModuleList(Block(8, DROPS[drop](r), with_cp) for r in rates)

    def forward(self, x):
        x = self.stem(x)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return tuple(outputs[1:])


def images(batch=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, 32, 32, generator=generator).double()


def draw(count, batch=3, views=2):
    """Any factors, not those of the rates alone."""
    return Plan(plan_generator(0, 0).choice([0.0, 1.0, 1.6], (count, views, batch)))


def gradients(model, outputs):
    model.zero_grad()
    loss = sum((o * torch.linspace(-1, 2, o.numel()).view_as(o)).sum() for o in outputs)
    loss.backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def assert_equal(got, expected):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('drop', DROPS)
def test_every_call_is_a_branch(drop):
    torch.manual_seed(0)
    model = UnknownNetwork(drop=drop).double()
    assert len(find_drop_paths(model)) == 3
    sites = called_drop_paths(model, images())
    assert [site.name for site in sites] == [f'blocks.{i}' for i in (0, 0, 1, 1, 2, 2)]
    assert [site.depth for site in sites] == [0, 0, 1, 1, 2, 2]
    assert {site.stage for site in sites} == {'blocks'}
    assert [site.rate for site in sites] == [TAU, TAU, TAU / 2, TAU / 2, TAU, TAU]
    assert all(m.training for m in model.modules())

    plan = draw(6)
    outputs, work = run_submodels(model, images(), plan, sites, 'drop_path')
    assert work == 1
    # By hand, view after view.
    views = []
    for v in range(2):
        x = model.stem(images())
        maps = []
        for i, block in enumerate(model.blocks):
            for k, f in enumerate((block.first, block.second)):
                factor = torch.from_numpy(plan.multipliers[2 * i + k, v])
                x = x + factor.view(-1, 1, 1, 1) * f(x).tanh()
            maps.append(x)
        views.append(maps[1:])
    reference = [torch.cat(maps) for maps in zip(*views, strict=True)]
    assert_equal(outputs, reference)
    assert_equal(gradients(model, outputs), gradients(model, reference))


@pytest.mark.parametrize(
    'name', ['mmpretrain ViT', 'mmpretrain Swin', 'mmseg MiT', 'ConvNeXt']
)
def test_equal_to_known_blocks(name):
    if name == 'ConvNeXt':
        init_default_scope('mmseg')
        model = MODELS.build(CONVNEXT).double()
    else:
        model = backbone(name).double()
    known = find_branches(model)
    sites = called_drop_paths(model, images())
    plan = draw(len(known))
    factors = {}
    for i, site in enumerate(known):
        if site.drop_path is None or site.rate == 0:  # may not be there at all
            plan.multipliers[i] = 1.0
        factors[site.drop_path] = plan.multipliers[i]
    assert sum(site.rate > 0 for site in sites) > 1
    same = Plan(np.stack([factors[site.module] for site in sites]))
    plain, _ = run_submodels(model, images(), plan, known, 'plain')
    ours, _ = run_submodels(model, images(), same, sites, 'drop_path')
    assert_equal(ours, plain)
    assert_equal(gradients(model, ours), gradients(model, plain))


def in_parts(package):
    """Transformers within patches, or over the positions of all patches."""
    if package == 'timm MobileViT':
        return timm.create_model(
            'mobilevit_xxs', num_classes=3, drop_path_rate=TAU
        ).eval()  # for BatchNorm, which sees all rows
    if package == 'timm TNT':
        sizes = dict(inner_dim=8, embed_dim=16, depth=2, first_stride=4)
        heads = dict(num_heads_inner=2, num_heads_outer=2)
        return timm_tnt.TNT(32, num_classes=3, drop_path_rate=TAU, **sizes, **heads)
    arch = dict(
        embed_dims_outer=16,
        embed_dims_inner=8,
        num_layers=2,
        num_heads_inner=2,
        num_heads_outer=2,
    )
    return TNT(arch, img_size=32, drop_path_rate=TAU)


@pytest.mark.parametrize('package', ['mmpretrain TNT', 'timm TNT', 'timm MobileViT'])
def test_parts_of_an_image_share_its_factor(package, monkeypatch):
    torch.manual_seed(0)
    model = in_parts(package).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    sites = called_drop_paths(model, images())
    plan = draw(len(sites))
    output, _ = run_submodels(model, images(), plan, sites, 'drop_path')

    # One image at a time, so that all rows are its own.
    modules = {site.module for site in sites}
    reference = []
    for v in range(2):
        for b in range(3):
            left = iter(plan.multipliers[:, v, b])
            for module in modules:
                monkeypatch.setattr(module, 'forward', lambda x, f=left: x * next(f))
            result = model(images()[b : b + 1])
            reference.append(result[0] if isinstance(result, tuple) else result)
            assert next(left, None) is None
    monkeypatch.undo()
    output = output if isinstance(output, tuple) else (output,)
    expected = (torch.cat(reference),)
    assert_equal(output, expected)
    assert_equal(gradients(model, output), gradients(model, expected))


@pytest.mark.parametrize('way', ['with_cp', 'activation_checkpointing', 'both'])
def test_recomputation_meets_the_plan(way):
    grads = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = UnknownNetwork(with_cp=recompute and way != 'activation_checkpointing')
        model.double()
        if recompute and way != 'with_cp':
            turn_on_activation_checkpointing(model, ['blocks.1', 'blocks.2'])
        sites = called_drop_paths(model, images())
        runs = []
        for seed in (0, 1):  # two passes before one backward
            plan = Plan(plan_generator(seed, 0).choice([0.0, 1.6], (6, 2, 3)))
            runs += run_submodels(model, images(), plan, sites, 'drop_path')[0]
        grads.append(gradients(model, runs))
        with_cp = recompute and way != 'activation_checkpointing'
        assert all(block.with_cp == with_cp for block in model.blocks)
    assert_equal(*grads)


def unknown_segmentor():
    cfg = segmentor_config()
    cfg['backbone'] = dict(type='mmcosub.UnknownNetwork')
    cfg['decode_head']['in_channels'] = [8, 8]
    cfg['auxiliary_head']['in_channels'] = 8
    return cfg


def test_blocks_without_a_drop_path_are_named(caplog):
    init_default_scope('mmseg')
    cfg = unknown_segmentor()
    model = MODELS.build(co_trained_model(cfg, dict(type='AugPath')))
    assert len(caplog.messages) == 1  # about blocks that are not known
    model.backbone.blocks[0].drop = nn.Identity()  # as timm builds it for a rate of 0
    assert always_kept(model.backbone, find_sites(model.backbone)) == ['blocks.0']
    find_scheme_sites(model.scheme, model.backbone)
    assert 'UnknownNetwork has no DropPath in blocks.0 (' in caplog.messages[1]
    caplog.clear()
    find_scheme_sites(Cosub(), model.backbone)  # at the rates of the network
    assert 'has no DropPath' not in caplog.text


def test_lists_are_no_blocks_without_a_drop_path():
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(2, 2)])
    model.drops = nn.ModuleList([StochasticDepth(0.1, 'row')])
    assert always_kept(model, find_drop_paths(model)) == []


def test_auto_takes_it_where_blocks_are_unknown(caplog):
    init_default_scope('mmseg')
    cfg = unknown_segmentor()
    stock = MODELS.build(copy.deepcopy(cfg))
    model = MODELS.build(co_trained_model(cfg, dict(type='Cosub')))
    assert len(caplog.messages) == 1
    assert 'Not all blocks of UnknownNetwork are known' in caplog.messages[0]
    inputs, samples = labelled_images()
    losses = model.loss(inputs, samples)
    assert losses['decode.loss_co_training'] > 0
    assert model.telemetry['branch_work'] == 1
    assert len(model.sites) == 6
    stock.load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize(
    'scheme', ['AugPath', 'Stimulative', 'StochasticDepth', 'AugMask', 'Collaboration']
)
def test_other_schemes(scheme):
    init_default_scope('mmseg')
    cfg = unknown_segmentor()
    model = MODELS.build(co_trained_model(cfg, dict(type=scheme)))
    inputs, samples = labelled_images(size=(64, 64))
    total, _ = model.parse_losses(model.loss(inputs, samples))
    total.backward()
    assert model.backbone.stem.weight.grad.any()


def test_partly_known():
    model = nn.ModuleDict(
        dict(known=backbone('mmpretrain ViT'), other=UnknownNetwork())
    )
    sites = find_sites(model)
    assert {type(site).__name__ for site in sites} == {'DropPathSite'}
    assert len(sites) == 8 + 3  # none left out
    assert fastest_exact(model, sites) == 'drop_path'


def test_neither_blocks_nor_drop_paths():
    with pytest.raises(ValueError, match=r'no residual block.*no DropPath modules'):
        find_sites(nn.Sequential(nn.Conv2d(3, 3, 1)))


def test_drop_paths_that_are_not_called():
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    model.drop, model.forward = DropPath(TAU), model[0].forward
    with pytest.raises(ValueError, match=r'has DropPath modules and calls none'):
        called_drop_paths(model, images().float())


class LeavesOut(UnknownNetwork):
    """Runs its last block in evaluation only."""

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks[: 2 if self.training else 3]:
            x = block(x)
        return (x,)


class Windows(UnknownNetwork):
    """Hands parts of images to its blocks."""

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = torch.cat(block(torch.cat(x.chunk(2, dim=2))).chunk(2), dim=2)
        return (x,)


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        (LeavesOut, r"'blocks.2.drop' ran 0 times in training and 2 in"),
        (Windows, r"'blocks.0.drop' gets 12 rows, where 6 rows"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(kind, message):
    model = kind().double()
    sites = called_drop_paths(model, images())
    with pytest.raises(ValueError, match=message):
        run_submodels(model, images(), draw(6), sites, 'drop_path')
    assert all('forward' not in vars(m) for m in model.modules())


def test_executions_of_the_wrong_kind():
    model = UnknownNetwork().double()
    sites = called_drop_paths(model, images())
    with pytest.raises(ValueError, match=r"'plain' cannot run.*one of \['drop_path'\]"):
        run_submodels(model, images(), draw(6), sites, 'plain')
