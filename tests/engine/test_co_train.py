"""Schemes by name or file, and the wrapper of each model."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmpretrain.models import ImageClassifier

from mmcosub.engine.co_train import apply_scheme, co_trained_model, list_schemes


def fragment(tmp_path: Path, text: str) -> str:
    """A scheme file."""
    path = tmp_path / 'mine.py'
    path.write_text(text)
    return str(path)


def test_packaged_schemes_apply() -> None:
    assert 'cosub' in list_schemes()
    for name in list_schemes():
        cfg = Config(dict(model=dict(type='EncoderDecoder')))
        apply_scheme(cfg, name)
        assert cfg.runner_type == 'mmcosub.CoTrainingRunner'
        assert cfg.scheme.type.startswith('mmcosub.')
        assert cfg.model == dict(type='EncoderDecoder')


def test_file_of_ones_own(tmp_path: Path) -> None:
    text = (
        "scheme = dict(type='mmcosub.Cosub', weight=0.1)\n"
        "custom_imports = dict(imports=['json'])\n"
        "custom_hooks = [dict(type='mmcosub.CoTrainingLossHook', ramp=9)]\n"
    )
    cfg = Config(dict(scheme=dict(type='Old', rate=1), custom_hooks=[dict(type='A')]))
    apply_scheme(cfg, fragment(tmp_path, text))
    assert cfg.scheme == dict(type='mmcosub.Cosub', weight=0.1)
    assert [hook.type for hook in cfg.custom_hooks] == [
        'A',
        'mmcosub.CoTrainingLossHook',
    ]
    assert cfg.custom_imports.imports == ['json']


@pytest.mark.parametrize('name', ['Cosub', 'cosubb', 'co_sub'])
def test_did_you_mean(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'. Did you mean 'cosub'"):
        apply_scheme(Config(), name)


def test_no_guess_where_nothing_is_close() -> None:
    with pytest.raises(ValueError, match=r"'zzz'\. Valid names are \[.*'cosub'"):
        apply_scheme(Config(), 'zzz')


def test_file_without_scheme(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'mine\.py has no `scheme'):
        apply_scheme(Config(), fragment(tmp_path, 'weight = 0.5\n'))


def test_whole_config_as_a_scheme(tmp_path: Path) -> None:
    text = "scheme = dict(type='mmcosub.Cosub')\nmodel = dict(type='A')\n"
    with pytest.raises(ValueError, match=r"more than a scheme: it also has \['model'"):
        apply_scheme(Config(), fragment(tmp_path, text))


@pytest.mark.parametrize(
    ('given', 'wrapper'),
    [
        ('EncoderDecoder', 'CoTrainingEncoderDecoder'),
        ('mmseg.EncoderDecoder', 'CoTrainingEncoderDecoder'),
        ('CascadeEncoderDecoder', 'CoTrainingCascadeEncoderDecoder'),
        ('ImageClassifier', 'CoTrainingImageClassifier'),
        ('mmpretrain.ImageClassifier', 'CoTrainingImageClassifier'),
        (ImageClassifier, 'CoTrainingImageClassifier'),
    ],
)
def test_wrapper_of_each_model(given: object, wrapper: str) -> None:
    model = dict(type=given, backbone=dict(type='A'))
    made = co_trained_model(model, dict(type='S'))
    assert made == {**model, 'type': f'mmcosub.{wrapper}', 'scheme': dict(type='S')}
    assert model == dict(type=given, backbone=dict(type='A'))


def test_a_wrapper_keeps_its_own_scheme() -> None:
    own = dict(type='mmcosub.CoTrainingEncoderDecoder', scheme=dict(type='Own'))
    assert co_trained_model(own, dict(type='S')) == own
    without = dict(type='mmcosub.CoTrainingEncoderDecoder')
    assert co_trained_model(without, dict(type='S'))['scheme'] == dict(type='S')


@pytest.mark.parametrize('kind', ['mmdet.EncoderDecoder', 'BYOL', None])
def test_unsupported_model(kind: str | None) -> None:
    with pytest.raises(ValueError, match=f"'{kind}' cannot be co-trained"):
        co_trained_model(dict(type=kind), dict(type='S'))


def test_scheme_without_type() -> None:
    with pytest.raises(ValueError, match='has no type: choose one of'):
        co_trained_model(dict(type='EncoderDecoder'), dict(weight=0.5))
