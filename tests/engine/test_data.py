"""Checks of model and data against each other."""

import re
from pathlib import Path
from typing import Any

import pytest
from mmseg.models.decode_heads import SideAdapterCLIPHead, STDCHead
from stock import runner_of
from torch import nn
from torchvision.ops import StochasticDepth

from mmcosub.engine.data import _check_heads, check_one_output, check_rates

ONE = {'num_classes': 1, 'threshold': 0.3}
BINARY = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.3}
BOTH = ('decode_head', 'auxiliary_head')


def of(heads: tuple[str, ...], **settings: Any) -> dict[str, Any]:
    """Settings of some heads of the model, by dotted key."""
    return {f'model.{h}.{k}': v for h in heads for k, v in settings.items()}


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        (of(BOTH, **ONE), 'model.decode_head'),
        (of(BOTH, **BINARY), 'model.decode_head'),
        (
            of(BOTH, **BINARY) | {'model.decode_head.loss_decode.use_sigmoid': True},
            'model.auxiliary_head',
        ),
        (
            of(BOTH, **BINARY)
            | of(BOTH, loss_decode=dict(type='DiceLoss', use_sigmoid=False)),
            'model.decode_head',
        ),
        (
            of(BOTH, **BINARY) | of(BOTH, loss_decode=[dict(type='CrossEntropyLoss')]),
            '',
        ),
    ],
)
def test_one_output_under_softmax(config: Path, changes: dict, named: str) -> None:
    changes['train_dataloader.dataset.metainfo'] = None
    runner = runner_of(config, co_train=False, **changes)
    with pytest.raises(ValueError, match='one output under a softmax loss') as error:
        runner.train()
    assert named in str(error.value)
    assert 'loss_decode.use_sigmoid=True' in str(error.value)


def test_one_output_of_a_classifier(classification_config: Path) -> None:
    from mmpretrain.models.losses import CrossEntropyLoss

    with pytest.raises(ValueError, match=re.escape('model.head has one output')):
        check_one_output('model.head', 1, CrossEntropyLoss())
    check_one_output('model.head', 1, CrossEntropyLoss(use_sigmoid=True))
    check_one_output('model.head', 2, CrossEntropyLoss())
    check_one_output('model.head', 1, nn.ModuleList())


def test_some_heads_have_labels_of_their_own() -> None:
    """As in mmseg's configs of STDC and SAN; of others that is a mistake."""
    heads = [kind.__new__(kind) for kind in (STDCHead, SideAdapterCLIPHead, nn.Module)]
    for head in heads:
        nn.Module.__init__(head)
        head.num_classes = 2
        head.loss_decode = nn.Module()
        head.loss_decode.class_weight = [1.0] * 20
    *own, other = heads
    model = nn.Module()
    model.auxiliary_head = nn.ModuleList(own)
    _check_heads(model, 19, 255)
    model.auxiliary_head.append(other)
    with pytest.raises(ValueError, match=r'auxiliary_head\.2\.num_classes is 2, .* 19'):
        _check_heads(model, 19, 255)


def test_drop_path_of_any_library_with_a_rate_of_1() -> None:
    model = nn.Sequential(nn.Dropout(1.0), StochasticDepth(0.5, 'row'))
    check_rates(model)
    model.append(StochasticDepth(1.0, 'row'))
    with pytest.raises(ValueError, match=r'2 has the drop-path rate 1, .* in \[0, 1\)'):
        check_rates(model)
