"""From a pretraining run to a segmentation run, by the tools alone."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from conftest import load_tool
from mmengine.config import Config
from stock import write_config

ROOT = Path(__file__).parents[2]
COSUB = ['--co-train', 'cosub', '--cfg-options', 'scheme.drop_path_rate=0.3']


def backbone(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    return {k: v for k, v in state.items() if k.startswith('backbone.')}


@pytest.fixture
def pretrained(train: ModuleType, classification_config: Path, tmp_path: Path) -> Path:
    """Checkpoint of a classifier that was co-trained."""
    train.main([str(classification_config), *COSUB])
    return (tmp_path / 'w' / 'epoch_1.pth').rename(tmp_path / 'pretrained.pth')


FROZEN = ['optim_wrapper.optimizer.lr=0', 'optim_wrapper.optimizer.weight_decay=0']


def logged(work_dir: Path) -> str:
    newest = max(work_dir.glob('*/*.log'), key=lambda p: p.stat().st_mtime)
    return newest.read_text()


def test_one_flag(
    train: ModuleType, config: Path, pretrained: Path, tmp_path: Path
) -> None:
    train.main([str(config), '--backbone', str(pretrained), *COSUB, *FROZEN])
    before, after = backbone(pretrained), backbone(tmp_path / 'w' / 'iter_4.pth')
    same = [k for k in after if k in before]
    assert len(same) == len(before)
    assert all(torch.equal(before[k], after[k]) for k in same)
    text = logged(tmp_path / 'w')
    assert f'Backbone from {pretrained} (mmpretrain Swin -> mmpretrain Swin)' in text
    assert 'New here, as expected: norm0.weight' in text
    # What is left in the work directory is stock.
    dumped = Config.fromfile(tmp_path / 'w' / 'tiny.py')
    init = dict(type='Pretrained', checkpoint=str(pretrained))
    assert dumped.model.backbone.init_cfg == init


def test_stock_line_in_a_config(
    train: ModuleType, config: Path, pretrained: Path, tmp_path: Path
) -> None:
    cfg = Config.fromfile(config).to_dict()
    init = dict(type='Pretrained', checkpoint=str(pretrained), prefix='backbone.')
    cfg['model']['backbone']['init_cfg'] = init
    write_config(config, cfg)
    train.main([str(config)])
    assert 'Backbone from' in logged(tmp_path / 'w')
    # A run that is resumed does not need the file any more.
    pretrained.unlink()
    train.main([str(config), '--resume', '--cfg-options', 'train_cfg.max_iters=6'])
    assert 'Backbone from' not in logged(tmp_path / 'w')


def test_errors(
    train: ModuleType, config: Path, pretrained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    def said(*argv: str) -> str:
        with pytest.raises(SystemExit):
            train.main([str(config), '--backbone', *argv])
        return capsys.readouterr().err

    assert 'No checkpoint file' in said(str(tmp_path / 'no.pth'))
    args = [str(pretrained), '--cfg-options']
    assert "carry_over has ['threshold']" in said(*args, 'carry_over.threshold=0.5')
    options = ['carry_over.min_match=1', 'model.backbone.arch.depths=2,3']
    assert re.search('Missing: .*less than 100%', said(*args, *options))


def test_head_of_other_classes_starts_afresh(
    train: ModuleType,
    classification_config: Path,
    pretrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    more = tmp_path / 'classes' / 'c'
    more.mkdir()
    image = next((tmp_path / 'classes' / 'a').iterdir())
    (more / 'z.jpg').write_bytes(image.read_bytes())
    args = [str(classification_config), '--cfg-options', f'load_from={pretrained}']
    with pytest.raises(SystemExit):
        train.main(args)
    assert 'CustomDataset has 3 classes, but the model' in capsys.readouterr().err
    train.main([*args, 'model.head.num_classes=3'])
    assert 'head.fc.bias, head.fc.weight start afresh' in logged(tmp_path / 'w')


def test_data_of_other_classes(
    test_tool: ModuleType,
    classification_config: Path,
    pretrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    args = [str(classification_config), str(pretrained)]
    test_tool.main(args)
    (tmp_path / 'classes' / 'b').rename(tmp_path / 'classes' / 'x')
    test_tool.main(args)
    assert "another order (['b', 'x'])" in logged(tmp_path / 'w')
    (tmp_path / 'classes' / 'y').mkdir()
    with pytest.raises(SystemExit):
        test_tool.main(args)
    said = capsys.readouterr().err
    assert re.search('trained on 2 classes, .* have 3.*differ in', said)


def test_converter_tool(pretrained: Path, tmp_path: Path) -> None:
    tool = str(ROOT / 'tools' / 'model_converters' / 'convert.py')
    out = tmp_path / 'timm.pth'
    run = subprocess.run(
        [sys.executable, tool, str(pretrained), str(out), '--to', 'timm'],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert 'mmpretrain Swin -> timm Swin: ' in run.stdout
    assert 'layers.0.blocks.0.attn.qkv.weight' in torch.load(out)


def test_converter_refuses(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tool = load_tool('model_converters/convert')

    def said(*argv: object) -> str:
        with pytest.raises(SystemExit) as exit_:
            tool.main([*map(str, argv)])
        assert exit_.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert '--overwrite' in said(pretrained, pretrained)
    ending = said(pretrained, tmp_path / 'timm.safetensors')
    assert 'the checkpoint to write, .pth, not' in ending
    assert 'no folder' in said(pretrained, tmp_path / 'no' / 'a.pth')
    assert 'No checkpoint file' in said('nowhere.pth', tmp_path / 'a.pth')
    odd, out = tmp_path / 'odd.pth', tmp_path / 'out.pth'
    size = dict(img_size=32, depth=1, embed_dim=24, num_heads=2)
    torch.save(VisionTransformer(**size, qk_norm=True).state_dict(), odd)
    assert 'no place for backbone.layers.0.attn.k_norm' in said(odd, out)
    assert not out.exists()
    (tmp_path / 'folder.pth').mkdir()
    line = said(pretrained, tmp_path / 'folder.pth', '--overwrite')
    assert 'folder.pth: Is a directory' in line
