"""From a pretraining run to a segmentation run, by the tools alone."""

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import load_tool
from mmengine.config import Config
from stock import write_config
from timm.models.vision_transformer import VisionTransformer

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


@pytest.mark.slow
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
    # Both runs may have begun in one second, and then share a log.
    logs = [path.read_text() for path in (tmp_path / 'w').glob('*/*.log')]
    assert ''.join(logs).count('Backbone from') == 1


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


@pytest.mark.sweep(every=2)
def test_prefix_of_the_command_line_is_kept(
    train: ModuleType, config: Path, pretrained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    state = torch.load(pretrained, weights_only=False)['state_dict']
    scaled = {f'momentum.{k}': v * 2 for k, v in state.items()}
    torch.save(dict(state_dict={**state, **scaled}), tmp_path / 'two.pth')
    args = [str(config), '--backbone', str(tmp_path / 'two.pth'), '--cfg-options']
    prefix = 'model.backbone.init_cfg.prefix='
    train.main([*args, f'{prefix}momentum.backbone', *FROZEN])
    name = 'backbone.stages.0.blocks.0.norm1.weight'
    got = backbone(tmp_path / 'w' / 'iter_4.pth')[name]
    assert torch.equal(got, state[name] * 2)
    with pytest.raises(SystemExit):
        train.main([*args, f'{prefix}nothing'])
    assert "no weights under prefix='nothing'" in capsys.readouterr().err
    # One that the config has is for the config's own file.
    cfg = Config.fromfile(config).to_dict()
    init = dict(type='Pretrained', checkpoint='a.pth', prefix='nothing')
    cfg['model']['backbone']['init_cfg'] = init
    write_config(config, cfg)
    train.main([*args, *FROZEN])
    assert torch.equal(backbone(tmp_path / 'w' / 'iter_4.pth')[name], state[name])


@pytest.mark.slow
def test_averaged_or_trained_weights(
    train: ModuleType, config: Path, pretrained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    state = torch.load(pretrained, weights_only=False)['state_dict']
    double = {name: value * 2 for name, value in state.items()}
    file = tmp_path / 'two.pth'
    torch.save(dict(state_dict=state, state_dict_ema=double), file)
    name = 'backbone.stages.0.blocks.0.norm1.weight'
    args = [str(config), '--backbone', str(file), '--cfg-options', *FROZEN]
    for which, factor in ((None, 2), ('ema', 2), ('model', 1)):
        train.main([*args, *(['--backbone-weights', which] if which else [])])
        got = backbone(tmp_path / 'w' / 'iter_4.pth')[name]
        assert torch.equal(got, state[name] * factor)
        said = 'Taken: state_dict_ema; --backbone-weights' in logged(tmp_path / 'w')
        assert said == (which is None)
    with pytest.raises(SystemExit):
        train.main([str(config), '--backbone-weights', 'ema'])
    assert '--backbone-weights goes with --backbone' in capsys.readouterr().err


@pytest.mark.sweep(every=2)
def test_parts_inside_the_network_are_refused_unless_allowed(
    train: ModuleType, config: Path, pretrained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    state = torch.load(pretrained, weights_only=False)['state_dict']
    name = 'backbone.stages.0.blocks.0.adapter.weight'
    torch.save(dict(state_dict={**state, name: torch.ones(2)}), tmp_path / 'a.pth')
    args = [str(config), '--backbone', str(tmp_path / 'a.pth')]
    with pytest.raises(SystemExit):
        train.main(args)
    said = capsys.readouterr().err
    allowed = re.search(r"--backbone-allow-unused '(.+)'\.$", said.strip())
    assert allowed
    assert 'stages.0.blocks.0.adapter' in said
    train.main([*args, '--backbone-allow-unused', allowed[1]])
    assert 'Not used (allowed, heads, ' in logged(tmp_path / 'w')
    assert 'network): stages.0.blocks.0.a' in logged(tmp_path / 'w')


def timm_classifier(config: Path, size: int) -> list[str]:
    """Arguments that make a classifier's config one of timm's ViT."""
    model = dict(
        type='TimmClassifier', model_name='vit_tiny_patch16_224', img_size=size,
        patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=2,
        data_preprocessor=dict(num_classes=2),
    )  # fmt: skip
    cfg = Config.fromfile(config).to_dict()
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader]['dataset']['pipeline'][1]['scale'] = (size, size)
    write_config(config, {**cfg, 'model': model})
    return [str(config), '--cfg-options', *FROZEN]


@pytest.mark.parametrize('co_train', [[], ['--co-train', 'cosub']])
@pytest.mark.slow
def test_timm_classifier_at_another_size(
    train: ModuleType, classification_config: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture, co_train: list[str],
) -> None:  # fmt: skip
    train.main(timm_classifier(classification_config, 32))
    newest = tmp_path / 'w' / 'epoch_1.pth'
    source = newest.rename(tmp_path / 'pretrained.pth')
    args = timm_classifier(classification_config, 48)
    with pytest.raises(SystemExit):
        train.main([*args, f'load_from={source}'])
    said = capsys.readouterr().err
    assert 'size mismatch for model.pos_embed' in said
    assert '--backbone' in said
    train.main([*args, '--backbone', str(source), *co_train])
    assert 'positions resized from 4x4 to 6x6' in logged(tmp_path / 'w')
    before, after = (
        torch.load(f, weights_only=False)['state_dict'] for f in (source, newest)
    )
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert name == 'pos_embed' or torch.equal(value, after[name]), name
    # A head of other classes starts afresh.
    before |= {'head.weight': torch.ones(3, 16), 'head.bias': torch.ones(3)}
    torch.save(before, source)
    train.main([*args, '--backbone', str(source)])
    assert 'New here, as expected: head.weight, head.bias' in logged(tmp_path / 'w')


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
    assert "differ in ['b', 'x']. Is this the right data?" in logged(tmp_path / 'w')
    (tmp_path / 'classes' / 'y').mkdir()
    with pytest.raises(SystemExit):
        test_tool.main(args)
    said = capsys.readouterr().err
    assert re.search('trained on 2 classes, .* have 3.*differ in', said)


def test_converter_tool(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'timm.pth'
    tool = load_tool('model_converters/convert')
    tool.main([str(pretrained), str(out), '--to', 'timm'])
    assert 'mmpretrain Swin -> timm Swin: ' in capsys.readouterr().out
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
