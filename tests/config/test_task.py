"""What the model of a config is for."""

import pytest
from mmengine.config import Config

from mmcosub.config.task import classifies


@pytest.mark.parametrize('scope', ['mmseg', 'mmpretrain', 'theirs', None])
def test_by_the_head_or_else_the_scope(scope: str | None) -> None:
    def of(**parts: dict) -> bool:
        return classifies(Config(dict(default_scope=scope, model=parts)))

    assert not of(decode_head={})
    assert of(head={})
    assert of(backbone={}) == (scope != 'mmseg')


def test_the_model_in_a_wrapper() -> None:
    model = dict(type='SegTTAModel', module=dict(decode_head={}))
    assert not classifies(Config(dict(model=model)))
