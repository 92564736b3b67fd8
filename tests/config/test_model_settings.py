import pytest
import timm
from mmengine.config import Config
from mmseg.models.backbones import TIMMBackbone

from mmcosub.config.model_settings import classifies, model_settings
from mmcosub.engine.prediction import stock_model


def test_weights_to_begin_from_are_not_asked_for() -> None:
    backbone = dict(type='mmpretrain.TIMMBackbone', pretrained=True, depths=(1, 2))
    neck = dict(type='Neck', pretrained='gone.pth')
    model = dict(type='Model', pretrained=None, backbone=backbone, neck=[neck])
    cfg = Config(dict(model=model, data_preprocessor=dict(mean=[1])))
    assert model_settings(cfg).to_dict() == dict(
        type='Model',
        pretrained=None,
        backbone={**backbone, 'pretrained': False},
        neck=[{**neck, 'pretrained': None}],
        data_preprocessor=dict(mean=[1]),
    )
    assert cfg.model.to_dict() == model


@pytest.mark.parametrize('given', [{}, dict(pretrained=True)])
def test_nothing_is_fetched_for_a_checkpoint_to_replace(
    given: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    create = timm.create_model

    def watched(pretrained: bool = False, **kwargs: object) -> object:
        asked.append(pretrained)
        return create(pretrained=False, **kwargs)

    monkeypatch.setattr(timm, 'create_model', watched)
    backbone = dict(type='mmseg.TIMMBackbone', model_name='resnet10t', **given)
    head = dict(type='mmseg.FCNHead', in_channels=512, channels=8, num_classes=3)
    model = dict(type='mmseg.EncoderDecoder', backbone=backbone, decode_head=head)
    stock_model(Config(dict(model=model)))
    assert asked == [False]


def test_nothing_is_fetched_for_a_class_either() -> None:
    """Configs in plain Python name the class itself."""
    backbone = dict(type=TIMMBackbone, model_name='resnet10t')
    settings = model_settings(Config(dict(model=dict(backbone=backbone))))
    assert settings.backbone.pretrained is False


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
