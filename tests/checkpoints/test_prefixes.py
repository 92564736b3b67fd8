"""Wrapped names and nested files: prefixes x nestings x libraries."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from checkpoints.formats.test_by_names import mscan
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmcosub.checkpoints import convert_checkpoint, load_backbone
from mmcosub.checkpoints.by_names import network_in, prefixes_in

VIT = dict(img_size=32, patch_size=16)


@cache
def timm_vit() -> nn.Module:
    size = dict(embed_dim=32, num_heads=2, depth=2)
    return timm.create_model('vit_tiny_patch16_224', **VIT, **size, num_classes=3)


def vit() -> nn.Module:
    init_default_scope('mmseg')
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=128)
    return MODELS.build(dict(type='mmpretrain.VisionTransformer', arch=arch, **VIT))


@cache
def resnet() -> nn.Module:
    return torchvision.models.resnet18(num_classes=3)


def mmseg_resnet() -> nn.Module:
    init_default_scope('mmseg')
    return MODELS.build(dict(type='ResNet', depth=18))


# Network that a file has, and the backbone to load: of known formats and by names.
LIBRARIES: dict[str, tuple[Callable, Callable, str]] = {
    'timm': (timm_vit, vit, 'cls_token'),
    'torchvision': (resnet, mmseg_resnet, 'layer4.1.conv2.weight'),
    'by names': (cache(lambda: mscan(0)), lambda: mscan(1), 'norm4.weight'),
}
PREFIXES = [
    '', 'net.', '_orig_mod.', 'module.', 'module.module.', 'module._orig_mod.',
    'model.', 'net._orig_mod.', 'model.net.', 'backbone.', 'net.backbone.', 'encoder.',
    '_forward_module.model.', 'teacher.backbone.', 'student.module.', 'visual.trunk.',
    'a.b.c.',
]  # fmt: skip
NESTINGS: dict[str, Callable[[dict], Any]] = {
    'bare': lambda state: state,
    'state_dict': lambda state: dict(state_dict=state, epoch=3),
    'model.state_dict': lambda state: dict(model=dict(state_dict=state), epoch=3),
    'teacher': lambda state: dict(teacher=state),
    'student and teacher': lambda state: dict(
        student={k: torch.zeros_like(v) for k, v in state.items()}, teacher=state
    ),
    'model_ema': lambda state: dict(model_ema=state),
    'unusual': lambda state: dict(checkpoint=dict(best=state), lr=0.1),
    'with an optimizer': lambda state: dict(
        net=state, optimizer=dict(state={0: dict(exp_avg=torch.ones(1))})
    ),
}


PAIRS = [(prefix, nesting) for prefix in PREFIXES for nesting in ('bare', 'teacher')]
PAIRS += [(prefix, nesting) for prefix in PREFIXES[:3] for nesting in NESTINGS]


@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize(('prefix', 'nesting'), sorted(set(PAIRS)))
@pytest.mark.sweep(every=5)
def test_network_is_found(
    prefix: str, nesting: str, library: str, tmp_path: Path
) -> None:
    source, build, name = LIBRARIES[library]
    weights = source().state_dict()
    state = {prefix + key: value for key, value in weights.items()}
    state['decode_head.conv.weight'] = torch.ones(1)
    torch.save(NESTINGS[nesting](state), tmp_path / 'a.pth')
    backbone = build()
    report = load_backbone(backbone, str(tmp_path / 'a.pth'))
    assert report.match == 1
    assert not report.unused
    assert torch.equal(backbone.state_dict()[name], weights[name])


def test_wrapped_in_the_middle(tmp_path: Path) -> None:
    state = timm_vit().state_dict()
    wrapped = {
        key.replace('blocks.0.', 'blocks.0._checkpoint_wrapped_module.'): value
        for key, value in state.items()
    }
    torch.save(
        {f'_fsdp_wrapped_module.{k}': v for k, v in wrapped.items()}, tmp_path / 'a'
    )
    assert load_backbone(vit(), str(tmp_path / 'a')).match == 1


def test_several_networks(tmp_path: Path) -> None:
    state = timm_vit().state_dict()
    both = {f'{net}.{k}': v for net in ('query', 'key') for k, v in state.items()}
    with pytest.raises(ValueError, match=r"under query\., key\.: .*prefix='query\.'"):
        network_in(both)
    torch.save(both, tmp_path / 'a.pth')
    assert load_backbone(vit(), str(tmp_path / 'a.pth'), prefix='key').match == 1


@pytest.mark.parametrize('library', ['timm', 'by names'])
def test_several_networks_are_named(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = 'mmcosub.checkpoints.by_names.print_log'
    monkeypatch.setattr(log, lambda text, *_: said.append(text))
    given, backbone, _ = LIBRARIES[library]
    for names in (('student', 'teacher'), ('query', 'key')):
        state = given().state_dict()
        both = {f'{net}.{k}': v for net in names for k, v in state.items()}
        torch.save(both, tmp_path / f'{names[0]}.pth')
    assert load_backbone(backbone(), str(tmp_path / 'student.pth')).match == 1
    assert 'teacher., student.. Taken: teacher.; others by model.backb' in said[0]
    with pytest.raises(ValueError, match=r'under query\., key\.: choose one'):
        load_backbone(backbone(), str(tmp_path / 'query.pth'))


@pytest.mark.parametrize('prefix', ['net.', 'module.module.', '_orig_mod.', 'a.b.c.'])
def test_conversion_keeps_the_head(prefix: str, tmp_path: Path) -> None:
    state = timm_vit().state_dict()
    torch.save({prefix + k: v for k, v in state.items()}, tmp_path / 'a.pth')
    converted, _, _ = convert_checkpoint(str(tmp_path / 'a.pth'), 'timm')
    assert converted.keys() == state.keys()


def test_what_is_unknown_is_named(tmp_path: Path) -> None:
    torch.save({'net.up.weight': torch.ones(1), 'step': 3}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'no known format, .* has net\.up\.weight'):
        load_backbone(vit(), str(tmp_path / 'a.pth'))
    torch.save(dict(first=3, second=[torch.ones(1)]), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'no weights .* but first, second'):
        load_backbone(vit(), str(tmp_path / 'a.pth'))


def test_prefixes() -> None:
    names = ['a.b.c.d.w', 'a.b.c.d.v', 'a.x.w', 'y.w']
    assert prefixes_in(names) == ['a.', 'a.b.', 'a.b.c.']


def test_stages_are_no_networks() -> None:
    """The blocks of Swin V2 resemble those of a ViT."""
    options: dict = dict(img_size=64, embed_dim=8, depths=(1, 1), num_heads=(1, 2))
    weights = timm.create_model('swinv2_tiny_window8_256', **options).state_dict()
    assert network_in(weights) is weights
