"""Settings that are looked at before anything is built."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmcosub.config.settings import check_optimizer, check_scheme
from mmcosub.schemes import Cosub

MODEL = nn.Sequential(OrderedDict(backbone=nn.Linear(2, 2), head=nn.BatchNorm1d(2)))
MODEL.backbone.rel_pos_table = nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize(
    ('rules', 'said'),
    [
        ({'bakbone': dict(lr_mult=0.1)}, "'bakbone' in its name. Did you mean 'backb"),
        ({'.backbone': dict(lr_mult=0.1)}, "Did you mean 'backbone'"),
        ({'head.bn': dict(lr_mult=2.0, decay_mult=0.0)}, "has 'head.bn' in its name"),
        ({'layer4': dict(decay_mult=0.0)}, 'layer4'),
        ({'backbone': dict(lr_mult=0.1)}, ''),
        ({'absolute_pos_embed': dict(decay_mult=0.0), '.norm': dict(decay_mult=0)}, ''),
        ({'.cpb_mlp': dict(decay_mult=0), '.logit_scale': dict(decay_mult=0)}, ''),
        (
            {'rel_pos_tabel': dict(decay_mult=0.0)},
            "Did you mean 'backbone.rel_pos_table'",
        ),
    ],
)
def test_rules_that_no_parameter_follows(rules: dict, said: str) -> None:
    wrapper = dict(paramwise_cfg=dict(custom_keys=rules))
    if not said:
        check_optimizer(MODEL, wrapper, False)
        return
    with pytest.raises(ValueError, match=re.escape(said)):
        check_optimizer(MODEL, wrapper, False)
    check_optimizer(MODEL, wrapper, True)  # a warning of an upstream config


def test_rules_that_a_constructor_does_not_read() -> None:
    wrapper = dict(
        constructor='mmseg.LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.0)}),
    )
    with pytest.raises(ValueError, match='reads no custom_keys'):
        check_optimizer(MODEL, wrapper, False)


class Own(Cosub):
    def __init__(self, table: 'NotImported | None' = None) -> None:  # noqa: F821
        super().__init__()


def test_types_that_are_for_type_checkers_only() -> None:
    """A scheme's own settings are then of any type, its names as strict as ever."""
    check_scheme(dict(type=Own, table=3))
    with pytest.raises(ValueError, match=r"scheme\.tabel: Own .* 'table'"):
        check_scheme(dict(type=Own, tabel=3))
