"""Every step runs the fastest execution that is exact in the mode it finds."""

import copy
from typing import Any

import pytest
from stock_settings import KINDS, SCHEMES, build, train
from torch import nn

from mmcosub.schemes import training


def test_what_hooks_change_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(KINDS['segmentor of convolutions'](), SCHEMES['cosub'])
    taken = []

    def run(*args: Any, **kwargs: Any) -> Any:
        taken.append(args[4])
        return run_submodels(*args, **kwargs)

    run_submodels = training.run_submodels
    monkeypatch.setattr(training, 'run_submodels', run)
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    train(model, steps=2)
    for norm in norms:
        norm.eval()
    train(model, steps=2)
    model.backbone.layer1[0].drop = nn.Dropout(0.1)
    train(model, steps=1)
    model.backbone.layer1[0].drop.p = 0.0
    train(model, steps=1)
    train(copy.deepcopy(model), steps=1)
    norms[3].train()
    train(model, steps=1)
    assert taken == ['plain'] * 2 + ['shared_prefix'] * 2 + [
        'kept_rows',
        'shared_prefix',
        'shared_prefix',
        'plain',
    ]
