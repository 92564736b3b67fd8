"""The fastest exact execution, of a network as it is now."""

from collections.abc import Callable
from typing import Any

import pytest
from timm.layers import DropBlock2d, PatchDropout, PatchDropoutWithIndices
from tiny import backbone
from torch import nn

from mmcosub.submodels import fastest_exact


def test_fastest_exact() -> None:
    assert fastest_exact(backbone('mmpretrain ViT')) == 'shared_prefix'
    assert fastest_exact(backbone('mmpretrain ViT', drop_rate=0.1)) == 'kept_rows'
    cfg = dict(attn_drop_rate=0.1)
    assert fastest_exact(backbone('mmpretrain ViT', layer_cfgs=cfg)) == 'kept_rows'
    assert fastest_exact(backbone('mmseg ViT', attn_drop_rate=0.1)) == 'kept_rows'
    for dropout in (PatchDropout(0.5), DropBlock2d(0.1)):
        model = nn.Sequential(backbone('mmpretrain ViT'), dropout)
        assert fastest_exact(model) == 'kept_rows'
    model = backbone('mmpretrain ViT')
    model.drop_rate = 0.1  # what timm's networks hand to F.dropout
    assert fastest_exact(model) == 'kept_rows'
    # timm's EVA hands its blocks the positions of each row's patches.
    model = nn.Sequential(backbone('mmpretrain ViT'), PatchDropoutWithIndices(0.5))
    assert fastest_exact(model) == 'plain'
    model[1].prob = 0.0
    assert fastest_exact(model) == 'shared_prefix'
    model = nn.Sequential(backbone('mmpretrain ViT'), nn.BatchNorm2d(3))
    assert fastest_exact(model) == 'plain'
    model.eval()
    assert fastest_exact(model) == 'shared_prefix'


class Network(nn.Module):
    """What decides about executions, of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.blocks = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0))
        self.patches = PatchDropout(0.0)
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.0)


def attention_rate(model: Any) -> None:
    model.attention.dropout = 0.1


def dropout_rate(model: Any) -> None:
    model.blocks[1].p = 0.1


def network_rate(model: Any) -> None:
    model.drop_rate = 0.1


def patch_rate(model: Any) -> None:
    model.patches.prob = 0.1


def another_module(model: Any) -> None:
    model.blocks[1] = nn.Dropout(0.3)


def further_module(model: Any) -> None:
    model.blocks.append(nn.Dropout(0.3))


def no_norm(model: Any) -> None:
    model.norm = nn.Identity()


CHANGES: dict[str, tuple[Callable[[Any], object], str, str]] = {
    'a norm frozen': (lambda m: m.norm.eval(), 'plain', 'shared_prefix'),
    'evaluation mode': (lambda m: m.eval(), 'plain', 'shared_prefix'),
    'a norm taken out': (no_norm, 'plain', 'shared_prefix'),
    'a norm thawed': (lambda m: m.norm.train(), 'shared_prefix', 'plain'),
    'a dropout ramped': (dropout_rate, 'shared_prefix', 'kept_rows'),
    "an attention's rate": (attention_rate, 'shared_prefix', 'kept_rows'),
    "a network's rate": (network_rate, 'shared_prefix', 'kept_rows'),
    'a rate of patches': (patch_rate, 'shared_prefix', 'kept_rows'),
    'a module replaced': (another_module, 'shared_prefix', 'kept_rows'),
    'a module added': (further_module, 'shared_prefix', 'kept_rows'),
}


@pytest.mark.parametrize('name', CHANGES)
def test_changes_by_hand_are_seen(name: str) -> None:
    change, before, after = CHANGES[name]
    model = Network().train()
    if before == 'shared_prefix':
        model.norm.eval()
    assert fastest_exact(model) == before
    change(model)
    assert fastest_exact(model) == after
