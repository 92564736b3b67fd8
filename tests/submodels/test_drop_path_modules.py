import mmcv.cnn.bricks.drop
import pytest
import timm.layers
import torch
import torchvision
from torch import nn

from mmcosub.submodels import find_branches, find_drop_paths, is_drop_path
from mmcosub.submodels.branches import UnknownBlockError
from mmcosub.submodels.drop_path_modules import drop_path_rate


def dropped(x, rate, training):
    """As transformers writes it."""
    if not rate or not training:
        return x
    keep = 1 - rate
    random = keep + torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype)
    return x.div(keep) * random.floor()


class SwinDropPath(nn.Module):
    def __init__(self, drop_prob=None):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, hidden_states):
        return dropped(hidden_states, self.drop_prob, self.training)


class SubclassOfTimms(timm.layers.DropPath):
    pass


class ResidualNoise(nn.Module):
    """Of a name that says nothing."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        return dropped(x, self.rate, self.training)


class AlwaysDropPath(SwinDropPath):
    """Drops in evaluation, too, which is something else."""

    def forward(self, hidden_states):
        return dropped(hidden_states, self.drop_prob, True)


class DropPathBlock(nn.Module):
    """Drops in its forward, and is no drop path."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        return x + dropped(self.linear(x), self.drop_prob, self.training)


DROP_PATHS = {
    'mmcv': mmcv.cnn.bricks.drop.DropPath,
    'timm': timm.layers.DropPath,
    'timm, not scaled': lambda rate: timm.layers.DropPath(rate, scale_by_keep=False),
    'torchvision': lambda rate: torchvision.ops.StochasticDepth(rate, 'row'),
    'torchvision, of batches': lambda p: torchvision.ops.StochasticDepth(p, 'batch'),
    'transformers': SwinDropPath,
    'subclass': SubclassOfTimms,
    'own': ResidualNoise,
}
OTHERS = {
    'dropout': nn.Dropout,
    'mmcv dropout': mmcv.cnn.bricks.drop.Dropout,
    'dropout of channels': nn.Dropout2d,
    'alpha dropout': nn.AlphaDropout,
    'patch dropout': timm.layers.PatchDropout,
    'drop block': timm.layers.DropBlock2d,
    'in evaluation': AlwaysDropPath,
    'block': DropPathBlock,
    'identity': lambda rate: nn.Identity(),
    'linear': lambda rate: nn.Linear(2, 2),
}


@pytest.mark.parametrize('rate', [0.0, 0.3])
@pytest.mark.parametrize('name', DROP_PATHS)
def test_what_drops_rows_is_drop_path(name, rate):
    module = DROP_PATHS[name](rate)
    state = torch.get_rng_state()
    before = dict(vars(module))
    assert is_drop_path(module)
    assert drop_path_rate(module) == rate
    assert torch.equal(torch.get_rng_state(), state)
    assert vars(module) == before


@pytest.mark.parametrize('name', OTHERS)
def test_what_does_not_is_none(name):
    assert not is_drop_path(OTHERS[name](0.3))


def test_a_rate_of_none_is_0():
    assert is_drop_path(SwinDropPath(None))
    assert drop_path_rate(SwinDropPath(None)) == drop_path_rate(None) == 0


@pytest.mark.parametrize('name', DROP_PATHS)
def test_outside_of_known_blocks_it_is_refused(name):
    model = nn.ModuleDict({'blocks': DropPathBlock(0.1)})
    model.blocks.drop = DROP_PATHS[name](0.3)
    assert [site.module for site in find_drop_paths(model)] == [model.blocks.drop]
    network = timm.create_model('vit_tiny_patch16_224', depth=1, embed_dim=12)
    network.norm = nn.Sequential(network.norm, DROP_PATHS[name](0.3))
    with pytest.raises(UnknownBlockError, match=r"has a DropPath at 'norm\.1'"):
        find_branches(network)
