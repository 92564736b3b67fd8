"""Light classifiers on the earlier stages, whatever the stages put out."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from networks import TINY
from stock_settings import RESNET, batch, build, classifier
from torch import nn

from mmcosub.schemes.intermediate import StageClassifiers, stage_ends
from mmcosub.submodels import find_sites


def network(name):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg = TINY[name]
    if callable(cfg):
        model = cfg(0.1)
    else:
        cfg = {'drop_path_rate': 0.1, **cfg}
        model = MODELS.build({k: v for k, v in cfg.items() if v is not None})
    model.train()  # MMPretrain's returns nothing
    return model


def classifiers(backbone, classes=3):
    ends = stage_ends(find_sites(backbone))
    model = SimpleNamespace(
        backbone=backbone, head=SimpleNamespace(num_classes=classes)
    )
    return ends, StageClassifiers.of(model, ends)


# Channels of the stages as the networks' configs have them.
@pytest.mark.parametrize(
    ('name', 'first', 'channels'),
    [
        ('mmpretrain MViT', False, [8, 16]),  # pairs of tokens and the map's size
        ('mmpretrain PoolFormer', True, [8]),
        ('mmpretrain CSPDarkNet', True, [8]),
        ('mmpretrain ConvMixer', True, [8, 8]),
        ('mmpretrain EfficientNet', True, [8, 8]),
        ('mmpretrain MobileNetV2', True, [8, 8, 8, 8, 16]),
        ('mmpretrain ResNet, bottlenecks', True, [8, 16, 32]),
        ('timm EfficientNet', True, [8, 16]),
        ('timm InceptionNeXt', True, [16, 16, 16]),
        ('timm MambaOut', False, [8, 8, 16]),  # maps with channels last
        ('timm NesT', False, [8]),  # of four dimensions, blocks of tokens
    ],
)
def test_channels_and_logits(name, first, channels):
    backbone = network(name)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    modes = [module.training for module in backbone.modules()]
    ends, light = classifiers(backbone)
    # Looking at it leaves the network as it is: mode, statistics, hooks.
    assert [module.training for module in backbone.modules()] == modes
    assert any(modes)
    torch.testing.assert_close(backbone.state_dict(), before, rtol=0, atol=0)
    assert not any(end._forward_hooks for end in ends)
    assert [norm.normalized_shape for norm, _ in light] == [(c,) for c in channels]
    assert light.first == [first] * len(ends)

    def values(c):
        return torch.randn((2, c, 5, 3) if first else (2, 5, 3, c))

    maps = [values(c) for c in channels]
    places = (2, 3) if first else (1, 2)
    pairs = [(x, (5, 3)) for x in maps]  # whatever stands beside the values
    for given in (maps, pairs):
        for x, head, logits in zip(maps, light, light(given), strict=True):
            torch.testing.assert_close(logits, head(x.mean(dim=places)))


def test_channels_that_look_like_places_are_refused():
    backbone = network('timm Swin')  # 8 x 8 places, 8 channels
    with pytest.raises(ValueError, match=r'shapes \[\(8, 8, 8\)\].*intermediate=0'):
        classifiers(backbone)


def test_a_network_that_does_not_run_is_refused():
    backbone = network('mmpretrain EfficientFormer, attention')  # of 49 tokens
    with pytest.raises(ValueError, match=r'image of \(224, 224\) .*intermediate=0'):
        classifiers(backbone)


def test_without_values_the_error_is_the_backbones_own():
    backbone = network('mmpretrain EfficientFormer, attention').to('meta')
    with pytest.raises(RuntimeError, match='Attempting to broadcast'):
        classifiers(backbone)


def test_stages_that_put_out_nothing_are_refused():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Linear(3, 3)

        def forward(self, images):
            return images

    backbone = Parts()
    model = SimpleNamespace(backbone=backbone, head=SimpleNamespace(num_classes=3))
    with pytest.raises(ValueError, match=r'of shapes \[\].*intermediate=0'):
        StageClassifiers.of(model, [backbone.part])
    with pytest.raises(ValueError, match='Parts has one block'):
        StageClassifiers.of(model, [])


@pytest.mark.parametrize('execution', ['auto', 'drop_path'])
def test_a_training_step_of_convolutions(execution):
    cfg = classifier()
    cfg['backbone'] = dict(RESNET, out_indices=(3,))
    cfg['neck'] = dict(type='GlobalAveragePooling')
    cfg['head']['in_channels'] = 32
    scheme = dict(type='Collaboration', intermediate=1.0, execution=execution)
    model = build(cfg, scheme)
    data = batch(model)
    losses = model.loss(**data)
    assert losses['loss_stages'] > 0
    assert losses['loss_heads'] > 0
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    light = model.extras['stage_classifiers']
    assert [norm.normalized_shape for norm, _ in light] == [(4,), (8,), (16,)]
    assert all(p.grad.any() for p in light.parameters())
