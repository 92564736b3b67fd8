"""Exported files against the model: same outputs, in every format."""

import importlib.util
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import load_tool
from mmengine.config import Config
from mmseg.models.utils import Upsample
from stock import segmentation_config, write_config
from tiny import one_channel, segmentor_config
from torch import nn

from mmcosub.engine.prediction import load_model
from mmcosub.export import SUFFIXES, export, load
from mmcosub.export.graph import DeployedModel

HAS_ONNX = all(
    importlib.util.find_spec(name) for name in ('onnx', 'onnxscript', 'onnxruntime')
)


def segformer() -> dict:
    """A tiny SegFormer."""
    cfg = segmentor_config('mmseg MiT')
    del cfg['auxiliary_head']
    cfg['decode_head'] = dict(
        type='SegformerHead',
        in_channels=[8, 16],
        in_index=[0, 1],
        channels=8,
        num_classes=5,
        norm_cfg=dict(type='BN'),
    )
    return cfg


def sliding() -> dict:
    """One that predicts by windows."""
    window = dict(mode='slide', crop_size=(32, 32), stride=(24, 20))
    return {**segmentor_config(), 'test_cfg': window}


def padded() -> dict:
    """One whose images are padded to multiples of 32."""
    cfg = segmentor_config('mmseg Swin')
    cfg['data_preprocessor']['test_cfg'] = dict(size_divisor=32)
    return cfg


SEGMENTORS = {
    'UperNet-Swin': segmentor_config,
    'UperNet-mmseg-Swin': lambda: segmentor_config('mmseg Swin'),
    'SegFormer': segformer,
    'one channel': lambda: one_channel(segmentor_config('mmpretrain ViT')),
    'sliding': sliding,
    'padded': padded,
    'mmseg ViT': lambda: segmentor_config('mmseg ViT'),
}


def made(name: str, scenes: Path, tmp_path: Path, classifier: Path) -> Any:
    """A model with random weights, as from a checkpoint."""
    if name == 'classifier':
        cfg = Config.fromfile(classifier)
    else:
        given = segmentation_config(scenes)
        given['model'] = SEGMENTORS[name]()
        given['model']['data_preprocessor'].update(
            mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0], bgr_to_rgb=True
        )
        cfg = Config.fromfile(write_config(tmp_path / 'c.py', given))
    torch.manual_seed(0)
    model = load_model(cfg, device='cpu')
    for parameter in model.parameters():  # so that classes vary over an image
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    if name != 'classifier':
        nn.init.zeros_(model.decode_head.conv_seg.bias)
    return model


@pytest.mark.parametrize('kind', SUFFIXES)
@pytest.mark.parametrize('name', ['UperNet-Swin', 'SegFormer', 'classifier'])
@pytest.mark.sweep(every=4)
def test_parity(name, kind, scenes, tmp_path, classification_config):
    if kind == 'onnx' and not HAS_ONNX:
        pytest.skip('needs onnx, onnxscript and onnxruntime')
    model = made(name, scenes, tmp_path, classification_config)
    path = tmp_path / f'model{SUFFIXES[kind]}'
    done = export(model, path, kind, (32, 64) if name != 'classifier' else (32, 32))
    assert 'upstream' in done.parity
    # Independently of what export() compares: an image of its own.
    image = torch.randn(*done.input.shape)
    found = load(kind, path)(image).detach()
    with torch.no_grad():
        if name == 'classifier':
            expected = model(image, mode='tensor').softmax(dim=1)
            assert found == pytest.approx(expected, abs=1e-5)
            return
        samples = model.predict(image)
    expected = torch.stack([each.pred_sem_seg.data[0] for each in samples])
    assert len(expected.unique()) > 1
    assert (found == expected).float().mean() > 0.999


@pytest.mark.parametrize('preprocessing', [False, True])
@pytest.mark.parametrize('name', SEGMENTORS)
@pytest.mark.sweep(every=3)
def test_graph(name, preprocessing, scenes, tmp_path, classification_config):
    """Upstream's whole test step, from the values of the image file."""
    model = made(name, scenes, tmp_path, classification_config)
    file = tmp_path / 'model.pt'
    done = export(model, file, 'torchscript', (50, 70), preprocessing=preprocessing)
    assert done.parity.startswith('100.00%')
    assert done.input.dtype == (torch.uint8 if preprocessing else torch.float32)


@pytest.mark.parametrize(
    ('name', 'dynamic', 'kind'),
    [
        ('SegFormer', 'all', 'torchscript'),
        ('SegFormer', 'all', 'pt2'),
        ('SegFormer', 'all', 'onnx'),
        ('UperNet-Swin', 'batch', 'pt2'),
        ('UperNet-mmseg-Swin', 'batch', 'pt2'),
        ('classifier', 'batch', 'pt2'),
        ('classifier', 'batch', 'onnx'),
    ],
)
@pytest.mark.sweep(every=8)
def test_dynamic(name, dynamic, kind, scenes, tmp_path, classification_config):
    if kind == 'onnx' and not HAS_ONNX:
        pytest.skip('needs onnx, onnxscript and onnxruntime')
    model = made(name, scenes, tmp_path, classification_config)
    path = tmp_path / f'model{SUFFIXES[kind]}'
    export(model, path, kind, (64, 32) if dynamic == 'all' else (32, 32), dynamic)
    size = (96, 128) if dynamic == 'all' else (32, 32)
    image = torch.randn(5, 3, *size)
    with torch.no_grad():
        expected = DeployedModel(model)(image)
    found = load(kind, path)(image).detach()
    assert found.shape == expected.shape
    if name == 'classifier':
        assert found == pytest.approx(expected, abs=1e-5)
    else:
        assert (found == expected).float().mean() > 0.999


def test_open_size_that_is_odd(scenes, tmp_path, classification_config):
    """Odd sizes: neither upstream's padding nor its upsampling is fixed in the file."""
    model = made('mmseg ViT', scenes, tmp_path, classification_config)
    doubled = Upsample(scale_factor=2, mode='bilinear', align_corners=False)
    model.backbone = nn.Sequential(doubled, model.backbone)
    path = tmp_path / 'model.pt'
    image = torch.randn(2, 3, 45, 39)
    with torch.no_grad():
        samples = model.predict(image)
    expected = torch.stack([each.pred_sem_seg.data[0] for each in samples])
    export(model, path, 'torchscript', (32, 32), 'all')
    assert len(expected.unique()) > 1
    assert torch.equal(load('torchscript', path)(image), expected)


def test_size_that_a_file_fixes(scenes, tmp_path, classification_config):
    model = made('SegFormer', scenes, tmp_path, classification_config)
    model.data_preprocessor.test_cfg = dict(size=(32, 64))
    path = tmp_path / 'model.pt'
    with pytest.raises(ValueError, match='differ'):
        export(model, path, 'torchscript', (32, 64), 'all')
    assert not path.exists()


class Inverse(nn.Module):
    """A layer by an operator that ONNX lacks."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.linalg.eigvalsh(x[:, 0, :2, :2]).sum()


class Sized(nn.Module):
    """A network that takes multiples of 32 only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[-1] % 32 == 0, 'the width is no multiple of 32'
        return x


@pytest.mark.parametrize(
    ('change', 'shape', 'kind', 'dynamic', 'said'),
    [
        (Sized, (32, 40), 'pt2', None, 'not run on images of 32x40 .*multiple of 32'),
        pytest.param(
            Inverse,
            (32, 32),
            'onnx',
            None,
            'no operator for .*eigh.*torchscript',
            marks=pytest.mark.slow,
        ),
        (None, (32, 32), 'pt2', 'all', r'windows \(Swin\) .*--dynamic batch'),
    ],
)
def test_refuses(
    change, shape, kind, dynamic, said, scenes, tmp_path, classification_config
):
    if kind == 'onnx' and not HAS_ONNX:
        pytest.skip('needs onnx, onnxscript and onnxruntime')
    model = made('UperNet-Swin', scenes, tmp_path, classification_config)
    if change:
        model.backbone = nn.Sequential(change(), model.backbone)
    path = tmp_path / f'model{SUFFIXES[kind]}'
    with pytest.raises(ValueError, match=said) as error:
        export(model, path, kind, shape, dynamic)
    assert len(str(error.value).splitlines()) == 1
    assert not path.exists()


def test_one_that_computes_something_else_is_not_written(
    scenes, tmp_path, classification_config, monkeypatch
):
    model = made('SegFormer', scenes, tmp_path, classification_config)
    monkeypatch.setattr(DeployedModel, '_logits', lambda self, x: -x.repeat(1, 2, 1, 1))
    path = tmp_path / 'out' / 'model.pt'
    path.parent.mkdir()
    path.write_text('earlier')
    with pytest.raises(ValueError, match=r'differ at .* of the pixels'):
        export(model, path, 'torchscript', (32, 32))
    assert path.read_text() == 'earlier'
    assert [*path.parent.iterdir()] == [path]


def test_nan_of_the_second_batch_is_seen(
    scenes, tmp_path, classification_config, monkeypatch
):
    model = made('classifier', scenes, tmp_path, classification_config)
    module = DeployedModel(model)
    monkeypatch.setattr(
        'mmcosub.export.exporting.load',
        lambda *_: lambda image: module(image) + (math.nan if len(image) > 2 else 0),
    )
    with pytest.raises(ValueError, match='differ by up to nan'):
        export(model, tmp_path / 'model.pt', 'torchscript', (32, 32), 'batch')


@pytest.fixture(scope='module')
def run(
    tmp_path_factory: pytest.TempPathFactory, scenes: Path, train: Any
) -> dict[str, Path]:
    """Config and checkpoint of a tiny co-trained segmentor."""
    folder = tmp_path_factory.mktemp('run')
    cfg = {**segmentation_config(scenes), 'work_dir': str(folder / 'w')}
    config = write_config(folder / 'tiny.py', cfg)
    train.main([str(config), '--co-train', 'cosub'])
    return dict(config=config, checkpoint=folder / 'w' / 'iter_4.pth')


def test_command_and_card(run, tmp_path, capsys):
    given = [str(run['config']), str(run['checkpoint']), '--format', 'pt2']
    out = tmp_path / 'net.pt2'
    argv = ['--out', str(out), '--shape', '32', '64', '--with-preprocessing']
    load_tool('export').main([*given, *argv])
    said = capsys.readouterr().out
    assert f'Wrote {out} and {out}.md. Parity: 100.00% of the pixels' in said
    card = out.with_name('net.pt2.md').read_text()
    assert '| input | `image` | (1, 3, 32, 64) | uint8 | values of the image' in card
    assert '| output | `classes` | (1, 32, 64) | int64 |' in card
    assert '- 4: five' in card
    code = card.split('```python\n')[1].split('```')[0]
    image = torch.zeros(1, 3, 32, 64, dtype=torch.uint8)
    names: dict[str, Any] = dict(image=image)
    exec(code.replace("'net.pt2'", repr(str(out))), names)
    assert names['classes'].shape == (1, 32, 64)


def test_command_refuses(run, tmp_path, capsys, monkeypatch):
    given = [str(run['config']), str(run['checkpoint']), '--shape', '32']

    def refusal(*argv: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            load_tool('export').main([*given, *argv])
        assert exit_.value.code == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        return said

    said = refusal('--format', 'pt2', '--out', 'net.onnx')
    assert '--out net.onnx: files of pt2 end in .pt2' in said
    monkeypatch.chdir(tmp_path)
    given[1] = str(shutil.copy(run['checkpoint'], 'mine.pt'))
    said = refusal('--format', 'torchscript')
    assert 'mine.pt is the checkpoint: give another name with --out' in said
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda n: None if 'onnx' in n else find(n)
    )
    said = refusal('--format', 'onnx', '--out', str(tmp_path / 'a.onnx'))
    assert 'pip install onnx onnxscript onnxruntime' in said
