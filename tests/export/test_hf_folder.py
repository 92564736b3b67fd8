"""Folders of the Hugging Face Hub: timm and Transformers load them, same logits."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import load_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as CLASSIFIERS
from mmseg.registry import MODELS as SEGMENTORS
from tiny import segmentor_config
from torch import Tensor

from mmcosub.engine.prediction import load_model
from mmcosub.export.hf_folder import write_hf_folder

pytestmark = pytest.mark.filterwarnings('ignore')  # of timm and Transformers

VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48),
    img_size=32,
    patch_size=8,
)
SWIN = dict(
    type='SwinTransformer',
    arch=dict(embed_dims=8, depths=[2, 1, 1, 1], num_heads=[1, 2, 2, 4]),
    img_size=64,
    patch_size=2,
    window_size=4,
)
CONVNEXT = dict(
    type='ConvNeXt', arch=dict(depths=[1, 2, 1, 1], channels=[8, 16, 24, 32])
)
POOLED = dict(type='GlobalAveragePooling')
LINEAR = 'LinearClsHead'
# Backbone, neck, head and its channels.
TIMM: dict[str, tuple[dict, dict | None, str, int]] = {
    'ViT': (VIT, None, 'VisionTransformerClsHead', 24),
    'ViT, averaged': (
        dict(VIT, out_type='avg_featmap', final_norm=False), None, LINEAR, 24,
    ),
    'ViT, layer scale': (
        dict(VIT, layer_scale_init_value=1.0), None, 'VisionTransformerClsHead', 24,
    ),
    'Swin': (SWIN, POOLED, LINEAR, 64),
    'ConvNeXt': (CONVNEXT, None, LINEAR, 32),
    'ConvNeXt V2': (
        dict(CONVNEXT, use_grn=True, layer_scale_init_value=0.0), None, LINEAR, 32,
    ),
    'ResNet': (dict(type='ResNet', depth=18), POOLED, LINEAR, 512),
    'ResNet-D': (dict(type='ResNetV1d', depth=50), POOLED, LINEAR, 2048),
}  # fmt: skip
NORMAL = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0])


def size(backbone: dict) -> int:
    return backbone.get('img_size', 32)


def classifier(name: str) -> dict:
    backbone, neck, kind, channels = TIMM[name]
    return dict(
        type='ImageClassifier',
        backbone=backbone,
        neck=neck,
        head=dict(type=kind, num_classes=5, in_channels=channels),
        data_preprocessor=dict(type='ClsDataPreprocessor', to_rgb=True, **NORMAL),
    )


def upernet(backbone: str) -> dict:
    model = segmentor_config()
    channels = [8, 16, 24, 32] if backbone == 'ConvNeXt' else [8, 16, 32, 64]
    model['backbone'] = dict(
        SWIN if backbone == 'Swin' else CONVNEXT,
        type=f'mmpretrain.{(SWIN if backbone == "Swin" else CONVNEXT)["type"]}',
        out_indices=(0, 1, 2, 3),
        **({} if backbone == 'Swin' else dict(gap_before_final_norm=False)),
    )
    if backbone == 'mmseg Swin':
        model['backbone'] = dict(
            type='SwinTransformer', pretrain_img_size=64, embed_dims=8, window_size=4,
            depths=(2, 1, 1, 1), num_heads=(1, 2, 2, 4), patch_size=2,
            strides=(2, 2, 2, 2),
        )  # fmt: skip
    model['decode_head'].update(in_channels=channels, in_index=[0, 1, 2, 3])
    model['auxiliary_head'].update(in_channels=channels[2], in_index=2)
    model['data_preprocessor'].update(size=(64, 64), bgr_to_rgb=True, **NORMAL)
    return model


def run(model: dict, folder: Path, side: int) -> tuple[Any, Path]:
    """A model with random weights, its config and its checkpoint."""
    segments = model['type'] == 'EncoderDecoder'
    scope = 'mmseg' if segments else 'mmpretrain'
    init_default_scope(scope)
    torch.manual_seed(0)
    built = (SEGMENTORS if segments else CLASSIFIERS).build(copy.deepcopy(model))
    for name, value in built.state_dict().items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            value.normal_(std=0.2)
    config = folder / 'run.py'
    cfg = Config(dict(model=model, default_scope=scope, crop_size=(side, side)))
    if not segments:
        edge = dict(type='ResizeEdge', scale=2 * side, edge='short')
        steps = [dict(type='LoadImageFromFile'), edge, dict(type='PackInputs')]
        cfg.test_dataloader = dict(dataset=dict(pipeline=steps))
    config.write_text(cfg.pretty_text)
    meta = dict(dataset_meta=dict(classes=[f'class {i}' for i in range(5)]))
    checkpoint = folder / 'run.pth'
    torch.save(dict(state_dict=built.state_dict(), meta=meta), checkpoint)
    return load_model(cfg, str(checkpoint), 'cpu').eval(), checkpoint


def published(model: dict, folder: Path, side: int) -> tuple[Any, Path]:
    built, checkpoint = run(model, folder, side)
    out = folder / 'published'
    tool = load_tool('model_converters/publish_model')
    tool.main([str(checkpoint), str(out), '--to', 'hf-folder'])
    assert (out / 'model.safetensors').is_file()
    return built, out


def compare(found: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', TIMM)
@pytest.mark.sweep(every=3)
@torch.no_grad()
def test_timm_loads_it(name: str, tmp_path: Path) -> None:
    import timm

    side = size(TIMM[name][0])
    built, out = published(classifier(name), tmp_path, side)
    loaded = timm.create_model(f'local-dir:{out}', pretrained=True).eval()
    x = torch.randn(2, 3, side, side)
    compare(loaded(x), built(x, mode='tensor'))
    assert loaded.pretrained_cfg['mean'] == pytest.approx(
        [m / 255 for m in NORMAL['mean']], abs=1e-5
    )
    assert loaded.pretrained_cfg['label_names'][3] == 'class 3'
    assert loaded.pretrained_cfg['input_size'] == (3, side, side)
    assert loaded.pretrained_cfg['crop_pct'] == 0.5
    assert loaded.pretrained_cfg['interpolation'] == 'bilinear'
    saved = json.loads((out / 'config.json').read_text())['pretrained_cfg']
    # They are about the weights that timm has by this name.
    assert saved.keys().isdisjoint(['license', 'origin_url', 'paper_ids', 'tag'])
    assert 'local-dir:published' in (out / 'README.md').read_text()


@pytest.mark.parametrize('name', ['ConvNeXt', 'ViT'])
@torch.no_grad()
def test_timm_resizes_and_crops_as_the_test_pipeline(name: str, tmp_path: Path) -> None:
    import timm

    model, checkpoint = run(classifier(name), tmp_path, 224)
    cfg = model.cfg
    steps = cfg.test_dataloader.dataset.pipeline
    crop = dict(type='CenterCrop', crop_size=48)
    # int(48 / (48 / 59)) is 58.
    resize = dict(type='Resize', scale=59, interpolation='bicubic')
    cfg.test_dataloader.dataset.pipeline = [steps[0], resize, crop, steps[-1]]
    write_hf_folder(cfg, str(checkpoint), tmp_path / 'out')
    loaded = timm.create_model(f'local-dir:{tmp_path / "out"}', pretrained=True)
    data = timm.data.resolve_model_data_config(loaded)
    first, second, *_ = timm.data.create_transform(**data).transforms
    assert (first.size, first.interpolation.value) == ((59, 59), 'bicubic')
    assert second.size == (48, 48)


@pytest.mark.parametrize('name', ['Swin', 'mmseg Swin', 'ConvNeXt'])
@torch.no_grad()
def test_transformers_loads_it(name: str, tmp_path: Path) -> None:
    library = pytest.importorskip('transformers')
    built, out = published(upernet(name), tmp_path, 64)
    loaded = library.UperNetForSemanticSegmentation.from_pretrained(out).eval()
    x = torch.randn(2, 3, 64, 96)
    expected = F.interpolate(built(x, mode='tensor'), (64, 96), mode='bilinear')
    compare(loaded(x).logits, expected)
    assert loaded.config.id2label[3] == 'class 3'
    processor = json.loads((out / 'preprocessor_config.json').read_text())
    assert processor['image_std'] == pytest.approx(
        [s / 255 for s in NORMAL['std']], abs=1e-5
    )
    assert 'class 3' in (out / 'README.md').read_text()


@torch.no_grad()
def test_images_in_bgr_and_without_normalisation(tmp_path: Path) -> None:
    import timm

    model = classifier('ConvNeXt')
    model['data_preprocessor'] = dict(type='ClsDataPreprocessor')
    built, out = published(model, tmp_path, 32)
    loaded = timm.create_model(f'local-dir:{out}', pretrained=True).eval()
    image = torch.rand(2, 3, 32, 32)  # RGB, as timm reads it
    given = loaded.pretrained_cfg
    mean, std = (torch.tensor(given[k]).view(3, 1, 1) for k in ('mean', 'std'))
    compare(loaded((image - mean) / std), built(image.flip(1) * 255, mode='tensor'))


def test_what_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(model: dict, side: int = 32) -> str:
        with pytest.raises(SystemExit):
            published(model, tmp_path, side)
        assert not (tmp_path / 'published' / 'config.json').exists()
        return capsys.readouterr().err

    model = classifier('ResNet')
    model['backbone'] = dict(type='RepVGG', arch='A0')
    model['head']['in_channels'] = 1280
    assert 'same model as a classifier with RepVGG' in said(model)
    model = classifier('ResNet')
    model['backbone'] = dict(type='ResNet', depth=50, style='caffe')
    model['head']['in_channels'] = 2048
    assert 'computes something else than this ResNet' in said(model)
    model = classifier('ViT')
    model['head']['hidden_dim'] = 8
    assert 'VisionTransformer with a head of several layers' in said(model)
    name = 'vit_tiny_patch16_224'
    model = dict(type='mmpretrain.TimmClassifier', model_name=name, img_size=32)
    assert "timm's network already" in said(dict(model, num_classes=3, depth=1))
    assert 'UPerHead on MixVisionTransformer' in said(segmentor_config('mmseg MiT'))
    (tmp_path / 'other.py').touch()
    assert '2 configs are beside' in said(classifier('ViT'))
    (tmp_path / 'other.py').unlink()
    (tmp_path / 'published').mkdir()
    (tmp_path / 'published' / 'mine').touch()
    assert 'name an empty or a new folder' in said(classifier('ViT'))
    (tmp_path / 'published' / 'mine').unlink()
    monkeypatch.setitem(sys.modules, 'transformers', None)
    assert 'pip install transformers' in said(upernet('Swin'), 64)
