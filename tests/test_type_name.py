"""Stock classes by all the ways in which configs name them."""

import pytest
from mmengine.config import ConfigDict
from mmengine.hooks import CheckpointHook

from mmcosub.names import type_name


class Theirs(CheckpointHook):
    """One of a user's."""


Theirs.__name__ = 'CheckpointHook'


@pytest.mark.parametrize(
    'kind',
    [
        'CheckpointHook',
        'mmengine.CheckpointHook',
        'mmengine.hooks.checkpoint_hook.CheckpointHook',
        CheckpointHook,
    ],
)
def test_the_stock_one(kind: object) -> None:
    assert type_name(ConfigDict(type=kind)) == 'CheckpointHook'


@pytest.mark.parametrize('kind', ['theirs.CheckpointHook', Theirs])
def test_anothers(kind: object) -> None:
    assert type_name(dict(type=kind)).endswith('.CheckpointHook')


@pytest.mark.parametrize('config', [None, {}, dict(type=None), 'CheckpointHook'])
def test_none(config: object) -> None:
    assert type_name(config) == ''
