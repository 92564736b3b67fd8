"""The check before the first step, on networks as they are and on changed ones."""

import copy
import random
import warnings

import numpy as np
import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS
from networks import TINY
from stock_settings import SCHEMES, batch, build, classifier, segmentor, train
from timm.models.vision_transformer import Block
from torch import nn

from mmcosub.config.co_train import co_trained_model
from mmcosub.submodels import (
    called_drop_paths,
    check_network,
    fastest_exact,
    find_branches,
)

CHANGED = r'^blocks\.0 \(timm\.models\.vision_transformer\.Block\) .*register_block'


def network(**settings):
    torch.manual_seed(0)
    settings = {'drop_path_rate': 0.3, 'depth': 3, **settings}
    model = timm.create_model(
        'vit_tiny_patch16_224', img_size=32, patch_size=8, embed_dim=16, num_heads=2,
        num_classes=5, **settings,
    )  # fmt: skip
    return model.train()


def images(size=32, count=3):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def check(model, execution='shared_prefix'):
    if execution == 'drop_path':
        sites = called_drop_paths(model, images())
    else:
        sites = find_branches(model)
    check_network(model, images(), sites, execution)


# ---- networks as they are -----------------------------------------------------------


@pytest.mark.parametrize('name', TINY)
def test_known_networks_pass(name):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = TINY[name]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of old arguments, by mmcv and torch
        if callable(config):
            model = config(0.4)
        else:
            config = {'drop_path_rate': 0.4, **copy.deepcopy(config)}
            if config['drop_path_rate'] is None:
                del config['drop_path_rate']
            model = MODELS.build(config)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.3
    sites = find_branches(model)
    for execution in ('plain', fastest_exact(model, sites)):
        check_network(model, images(), sites, execution)


@pytest.mark.parametrize('execution', ['plain', 'kept_rows', 'drop_path'])
def test_noise_that_is_no_drop_path_passes(execution):
    class Noisy(nn.Module):
        def forward(self, x):
            return x + 0.1 * torch.randn_like(x) if self.training else x

    model = network(attn_drop_rate=0.2, proj_drop_rate=0.2, pos_drop_rate=0.2)
    model.norm = nn.Sequential(model.norm, Noisy(), nn.Dropout(0.5))
    check(model, execution)


def test_nothing_is_left_behind():
    model = build(segmentor(), None).backbone.float()
    model.norm = nn.BatchNorm2d(4)
    forward, seen = model.forward, []
    model.forward = lambda x: forward(model.norm(x[:, [0, 1, 2, 0]])[:, :3])
    model.register_forward_hook(lambda *args: seen.append(args))
    nn.init.constant_(model.norm.weight, 1e-6)
    state = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    x, draws = batch(build(segmentor(), None))['inputs'].float(), []
    for checked in (False, True):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        if checked:
            check_network(model, x, find_branches(model), 'plain')
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert not seen
    assert len(model._forward_hooks) == 1
    assert modes == [m.training for m in model.modules()]
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize('scheme', ['cosub', 'augmask', 'gkt'])
@pytest.mark.parametrize('make', [segmentor, classifier])
def test_the_first_steps_are_the_same_without_it(scheme, make):
    runs = [
        train(build(make(), {**SCHEMES[scheme], 'check_network': on}))
        for on in (True, False)
    ]
    assert runs[0][0] == runs[1][0]
    for a, b in zip(*(run[1] for run in runs), strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a if a[k] is not None)


# ---- networks that were changed ------------------------------------------------------


def scaled_branches(self, x, *args, **kwargs):
    """What a newer version might compute."""
    x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x)))) / 2
    return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


@pytest.mark.parametrize('settings', [{}, dict(init_values=1e-6)], ids=str)
@pytest.mark.parametrize('execution', ['plain', 'kept_rows', 'shared_prefix'])
def test_a_changed_block_is_refused(execution, settings, monkeypatch):
    """Also where a layer scale of 1e-6 hides it at the start of training."""
    monkeypatch.setattr(Block, 'forward', scaled_branches)
    model = network(**settings)
    with pytest.raises(ValueError, match=CHANGED) as error:
        check(model, execution)
    assert "scheme.execution='drop_path'" in str(error.value)
    assert 'scheme.check_network=False' in str(error.value)
    check(model, 'drop_path')  # by which it can be trained


def test_a_wrapped_block_is_refused():
    model = network()
    forward = model.blocks[1].forward
    model.blocks[1].forward = lambda x: forward(x) * 2
    with pytest.raises(ValueError, match=r'^blocks\.1 '):
        check(model)


class OwnBlock(nn.Module):
    """Drops its branch by itself, as no module does."""

    def __init__(self, width, rate):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.rate = rate

    def forward(self, x):
        y = self.linear(x)
        return x + timm.layers.drop_path(y, self.rate, self.training)


@pytest.mark.parametrize('rate', [0.05, 0.3])
@pytest.mark.parametrize('execution', ['plain', 'shared_prefix', 'drop_path'])
@pytest.mark.parametrize('seed', range(3))
def test_an_unseen_drop_path_is_refused(execution, rate, seed):
    """Even if it keeps everything in the passes of the check: its factor shows."""
    model = network()
    model.norm = nn.Sequential(model.norm, OwnBlock(16, rate))
    torch.manual_seed(seed)
    match = rf'^norm\.1 \({__name__}.OwnBlock\).*training.*recognise'
    with pytest.raises(ValueError, match=match):
        check(model, execution)


class MoreInTraining(nn.Module):
    """Puts out two maps in training and one in evaluation."""

    def __init__(self, drop):
        super().__init__()
        self.inner = network()
        self.inner.norm = nn.Sequential(self.inner.norm, drop)

    def forward(self, x):
        x = self.inner(x)
        return (x, x) if self.training else x


@pytest.mark.parametrize('unseen', [False, True])
def test_another_output_in_training(unseen):
    torch.manual_seed(0)
    model = MoreInTraining(OwnBlock(16, 0.5) if unseen else nn.Dropout(0.5)).train()
    if not unseen:
        return check(model)
    with pytest.raises(ValueError, match='recognise'):
        check(model)


def test_what_cannot_run_one_image_is_said():
    model = network()
    forward = model.forward
    model.forward = lambda x: forward(x.unflatten(0, (-1, 2)).flatten(0, 1))
    with pytest.warns(UserWarning, match='is not checked before the first step'):
        check(model)


@pytest.mark.parametrize('checked', [True, False])
def test_training_is_refused_before_the_first_step(checked, monkeypatch):
    cfg = dict(
        type='TimmClassifier', model_name='vit_tiny_patch16_224', img_size=32,
        patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=5,
        drop_path_rate=0.3, loss=dict(type='CrossEntropyLoss'),
    )  # fmt: skip
    monkeypatch.setattr(Block, 'forward', scaled_branches)
    init_default_scope('mmpretrain')
    scheme = dict(type='Cosub', check_network=checked)
    model = MODELS.build(co_trained_model(cfg, scheme)).train()
    samples = [DataSample().set_gt_label(i) for i in range(3)]
    if checked:
        with pytest.raises(ValueError, match=CHANGED):
            model.loss(images(), samples)
        assert model.plans_drawn == 0
    else:
        model.loss(images(), samples)
