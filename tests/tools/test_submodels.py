"""The tools on submodels: from a trained checkpoint to pictures and a smaller model."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import load_tool
from mmengine.config import Config
from stock import segmentation_config, write_config

SWEEP = 'analysis_tools/submodel_sweep'
EXTRACT = 'model_converters/extract_submodel'
COMMON = {'--help', '--cfg-options', '--trust-checkpoint', '--debug'}
FLAGS = {
    SWEEP: {
        *('--extractable', '--search-images', '--images', '--metric'),
        *('--shape', '--work-dir'),
    },
    EXTRACT: {
        *('--list', '--blocks', '--drop', '--record', '--depth'),
        *('--shape', '--overwrite'),
    },
}


@pytest.fixture(scope='module')
def trained(
    train: ModuleType, tmp_path_factory: pytest.TempPathFactory, scenes: Path
) -> Iterator[tuple[Path, Path]]:
    """A config file and the checkpoint of a co-trained run of it."""
    root = tmp_path_factory.mktemp('trained')
    # As in configs of ours, which a second checkpoint must not trip over.
    cfg = {**segmentation_config(scenes), 'fast': True}
    path = write_config(root / 'tiny.py', cfg)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', '0')
        train.main([str(path), '--work-dir', str(root / 'w'), '--co-train', 'cosub'])
    return path, root / 'w' / 'iter_4.pth'


def run(tool: str, *argv: object) -> object:
    return load_tool(tool).main([str(a) for a in argv])


def refused(tool: str, capsys: pytest.CaptureFixture, *argv: object) -> str:
    """What the script says of arguments that it refuses."""
    with pytest.raises(SystemExit) as exit_:
        run(tool, *argv)
    assert exit_.value.code == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if 'error' in x]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize('tool', FLAGS)
def test_flags(tool: str) -> None:
    """A flag that comes or goes is a decision, also about this list."""
    options = load_tool(tool).make_parser()._option_string_actions
    found = {name for name in options if name.startswith('--')}
    assert found == FLAGS[tool] | COMMON


def test_sweep_then_extract(
    trained: tuple[Path, Path],
    test_tool: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    path, checkpoint = trained
    work = ['--work-dir', tmp_path / 'w']
    record = run(SWEEP, path, checkpoint, '--extractable', *work)
    written = json.loads((tmp_path / 'w' / 'submodel_sweep.json').read_text())
    assert written == record
    assert written['search_images'] == 8  # of training there are no more
    assert written['images'] == 4
    points = written['points']
    whole = points[0]['metrics'][record['metric']]
    assert f'{whole:.4g}' in capsys.readouterr().out

    # What the sweep says of a submodel is what testing the extracted one says.
    small = tmp_path / 'small.pth'
    which = ['--record', tmp_path / 'w' / 'submodel_sweep.json', '--depth', 2]
    run(EXTRACT, path, checkpoint, small, *which)
    assert '2 of 4 blocks' in capsys.readouterr().out
    (point,) = [p for p in points if len(p['kept']) == 2]
    assert (
        sum(Config.fromfile(small.with_suffix('.py')).model.backbone.arch.depths) == 2
    )
    work = ['--work-dir', str(tmp_path / 'test')]
    metrics = test_tool.main([str(small.with_suffix('.py')), str(small), *work])
    assert metrics['mIoU'] == pytest.approx(point['metrics']['mIoU'])
    # And of the whole, what testing the whole says.
    metrics = test_tool.main([str(path), str(checkpoint), *work])
    assert metrics['mIoU'] == pytest.approx(points[0]['metrics']['mIoU'])


def test_list(trained: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    run(EXTRACT, *trained, '--list')
    assert '   2  stages.1.blocks.0\n' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('tool', 'argv', 'said'),
    [
        (SWEEP, ['--metric', 'Dice'], 'gives no Dice'),
        (SWEEP, ['--images', 0], 'must be above 0'),
        (EXTRACT, ['out.pth', '--drop', 0, 1, 2, 3], 'would be empty'),
        (EXTRACT, ['out.pth', '--blocks', 0, 7], 'there is no block 7'),
        (EXTRACT, ['out.pth', '--drop', 0, 7], 'no block 7'),
        (EXTRACT, ['out.txt', '--blocks', 0], 'OUT is the checkpoint to write, .pth'),
        (EXTRACT, ['out.pth', '--record', 'r.json'], 'go together'),
        (EXTRACT, ['out.pth', '--record', 'r.json', '--depth', 2], 'no record r.json'),
    ],
)
@pytest.mark.sweep(every=3)
def test_bad_arguments(
    trained: tuple[Path, Path],
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    argv: list,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(tool, capsys, *trained, *argv)


@pytest.mark.parametrize('tool', FLAGS)
def test_bad_checkpoints(
    trained: tuple[Path, Path],
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path, _ = trained
    more = ['--list'] if tool == EXTRACT else []
    assert 'No checkpoint file' in refused(tool, capsys, path, 'no.pth', *more)
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'a.weight': torch.ones(2)}), other)
    assert 'does not fit the model' in refused(tool, capsys, path, other, *more)
