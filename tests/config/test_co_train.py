"""Schemes by name or file, and the wrapper of each model."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope, Registry
from mmpretrain.models import ImageClassifier
from mmseg.registry import MODELS

from mmcosub.config.co_train import (
    FAST,
    WRAPPERS,
    accelerated_model,
    apply_scheme,
    co_trained_model,
    list_schemes,
)


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
    with pytest.raises(ValueError, match=r"not a scheme file: it also has \['model'"):
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


def test_a_wrapper_is_trained_by_the_scheme_that_is_asked_for() -> None:
    """``--co-train`` and ``scheme.weight=0.9`` are not without effect."""
    without = dict(type='mmcosub.CoTrainingEncoderDecoder')
    for model in (without, {**without, 'scheme': dict(type='Own', weight=0.1)}):
        made = co_trained_model(model, dict(type='S'))
        assert made == {**without, 'scheme': dict(type='S')}


@pytest.mark.parametrize('kind', ['mmdet.EncoderDecoder', 'BYOL', None])
def test_unsupported_model(kind: str | None) -> None:
    with pytest.raises(ValueError, match=f"'{kind}' cannot be co-trained"):
        co_trained_model(dict(type=kind), dict(type='S'))


def test_scheme_without_type() -> None:
    with pytest.raises(ValueError, match='has no type: choose one of'):
        co_trained_model(dict(type='EncoderDecoder'), dict(weight=0.5))


@pytest.mark.parametrize('name', FAST)
def test_each_faster_class_is_one_of_the_stock(name: str) -> None:
    fast, stock = MODELS.get(FAST[name]), MODELS.get(f'mmseg.{name}')
    assert issubclass(fast, stock)
    assert fast is not stock
    assert fast.__name__ == f'Fast{name}'


@pytest.mark.parametrize('name', FAST)
@pytest.mark.parametrize('scope', ['', 'mmseg.'])
def test_accelerated_model(name: str, scope: str) -> None:
    stock = dict(type=f'{scope}{name}', channels=8)
    fast = dict(type=FAST[name], channels=8)
    model = dict(
        type='EncoderDecoder',
        backbone=dict(type='PSPHead'),
        decode_head=stock,
        auxiliary_head=[stock, dict(type='DAHead'), stock],
    )
    made = accelerated_model(model)
    assert made == {
        **model,
        'decode_head': fast,
        'auxiliary_head': [fast, dict(type='DAHead'), fast],
    }
    assert accelerated_model(made) == made
    assert stock == dict(type=f'{scope}{name}', channels=8)
    assert model['decode_head'] is stock
    tta = dict(type='SegTTAModel', module=model)
    assert accelerated_model(tta) == dict(type='SegTTAModel', module=made)
    cascade = dict(decode_head=(stock, stock), auxiliary_head=stock)
    assert accelerated_model(cascade) == dict(
        decode_head=(fast, fast), auxiliary_head=fast
    )


@pytest.mark.parametrize(
    'head',
    [
        dict(type='DAHead'),
        dict(type='mmdet.UPerHead'),
        dict(type='mmseg.DAHead'),
        dict(type='mmcosub.FastUPerHead'),
        dict(type='uperhead'),
        dict(type=None),
        dict(channels=8),
        None,
    ],
    ids=str,
)
def test_other_heads_are_left_as_they_are(head: dict | None) -> None:
    model = dict(type='EncoderDecoder', decode_head=head, auxiliary_head=[head] * 2)
    if head is None:
        model['auxiliary_head'] = None
    assert accelerated_model(model) == model


def test_model_without_heads_is_left_as_it_is() -> None:
    model = dict(type='ImageClassifier', head=dict(type='PSPHead'))
    assert accelerated_model(model) == model


@pytest.mark.parametrize('name', FAST)
def test_accelerated_model_of_a_class(name: str) -> None:
    """Configs in plain Python name the class itself."""
    stock = MODELS.get(f'mmseg.{name}')
    made = accelerated_model(dict(decode_head=dict(type=stock)))
    assert made == dict(decode_head=dict(type=FAST[name]))
    own = type(name, (stock,), {})
    assert accelerated_model(dict(decode_head=dict(type=own)))['decode_head'] == dict(
        type=own
    )


@pytest.mark.parametrize('force', [True, False])
def test_anothers_class_of_a_stock_name(
    force: bool,
    monkeypatch: pytest.MonkeyPatch,
    registry_of_theirs: Callable[..., Registry],
) -> None:
    """In a ``default_scope`` of a user's own, or in place of the stock one."""
    if force:
        registry, scope = MODELS, 'mmseg'
    else:
        registry, scope = registry_of_theirs(ROOT), 'theirs'
    for name in ('EncoderDecoder', 'FCNHead'):
        stock = MODELS.get(f'mmseg.{name}')
        own = type(name, (stock,), {'__module__': 'theirs.models'})
        monkeypatch.setitem(registry._module_dict, name, own)
    model = dict(type='EncoderDecoder', decode_head=dict(type='FCNHead'))
    with DefaultScope.overwrite_default_scope(scope):
        assert accelerated_model(model) == model
        with pytest.raises(ValueError, match="EncoderDecoder' cannot be"):
            co_trained_model(model, dict(type='S'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert (
            co_trained_model(model, dict(type='S'))['type'] == WRAPPERS[model['type']]
        )
