"""What the model of a config is for."""

import pytest
from mmengine.config import Config

from mmcosub.engine.task import classifies

HEADS: tuple[dict, ...] = (dict(decode_head={}), dict(head={}))


@pytest.mark.parametrize('scope', ['mmseg', 'mmpretrain', 'theirs', None])
def test_a_decode_head_segments_in_any_scope(scope: str | None) -> None:
    segmentor, classifier = (Config(dict(default_scope=scope, model=h)) for h in HEADS)
    assert not classifies(segmentor)
    assert classifies(classifier) == (scope != 'mmseg')


def test_the_model_in_a_wrapper() -> None:
    model = dict(type='SegTTAModel', module=dict(decode_head={}))
    assert not classifies(Config(dict(model=model)))
