"""Every scheme on stock configs, by one flag."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.config import Config

from mmcosub.config.co_train import list_schemes

RATE = 'scheme.drop_path_rate=0.3'
LARGER = [
    'model.data_preprocessor.size=(64,64)',
    'train_dataloader.dataset.pipeline.2.crop_size=(40,40)',
]


def last_line(work_dir: Path) -> dict:
    """The last values that a run logged in training."""
    log = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda p: p.stat().st_mtime)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if 'loss' in line][-1]


@pytest.mark.parametrize('name', list_schemes())
@pytest.mark.sweep(every=4)
def test_segmentation(
    name: str, train: ModuleType, test_tool: ModuleType, config: Path, tmp_path: Path
) -> None:
    train.main([str(config), '--co-train', name, '--cfg-options', RATE, *LARGER])
    values = last_line(tmp_path / 'w')
    assert 0 < values['branch_work'] <= 1
    assert values['loss'] > 0
    if name != 'stochastic_depth':
        assert values['decode.loss_co_training'] > 0
        assert 0 <= values['agreement'] <= 1
    checkpoint = tmp_path / 'w' / 'iter_4.pth'
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    assert not [key for key in state if 'extras' in key]
    test_tool.main([str(config), str(checkpoint)])


@pytest.mark.parametrize('name', list_schemes())
@pytest.mark.sweep(every=4)
def test_classification(
    name: str, train: ModuleType, classification_config: Path, tmp_path: Path
) -> None:
    size = 'train_dataloader.dataset.pipeline.1.scale=64'
    argv = [str(classification_config), '--co-train', name]
    train.main([*argv, '--cfg-options', RATE, size])
    values = last_line(tmp_path / 'w')
    if name == 'collaboration':
        assert values['loss_stages'] > 0
        assert values['loss_heads'] > 0
    state = torch.load(tmp_path / 'w' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert not [key for key in state if 'extras' in key]


def test_learned_token_is_resumed(
    train: ModuleType, config: Path, tmp_path: Path
) -> None:
    argv = [str(config), '--co-train', 'augmask']
    train.main([*argv, '--cfg-options', RATE, *LARGER])
    saved = torch.load(tmp_path / 'w' / 'iter_4.pth', weights_only=False)
    before = saved['co_training_extras']['mask_token.value']
    frozen = ['optim_wrapper.optimizer.lr=0', 'train_cfg.max_iters=5']
    frozen.append('default_hooks.checkpoint.interval=1')
    # A resumed optimizer has the rate of its checkpoint.
    saved['optimizer']['param_groups'][0].update(lr=0.0, initial_lr=0.0)
    torch.save(saved, tmp_path / 'w' / 'iter_4.pth')
    resume = ['--resume', '--allow-changes', '--cfg-options', RATE, *LARGER, *frozen]
    train.main([*argv, *resume])
    saved = torch.load(tmp_path / 'w' / 'iter_5.pth', weights_only=False)
    assert torch.equal(saved['co_training_extras']['mask_token.value'], before)


@pytest.mark.parametrize('amp', [[], ['--amp']])
@pytest.mark.parametrize('name', ['augpath', 'gkt'])
@pytest.mark.sweep(every=4)
def test_lean(
    name: str, amp: list, train: ModuleType, config: Path, tmp_path: Path
) -> None:
    losses = []
    for lean in (False, True):
        work_dir = tmp_path / str(lean)
        argv = [str(config), '--co-train', name, '--work-dir', str(work_dir), *amp]
        train.main([*argv, '--cfg-options', RATE, f'scheme.lean={lean}'])
        losses.append(last_line(work_dir)['loss'])
    assert losses[0] == pytest.approx(losses[1], rel=1e-2 if amp else 1e-4)


def test_statistics_are_estimated_anew(
    train: ModuleType, config: Path, tmp_path: Path
) -> None:
    train.main([str(config), '--co-train', 'gkt', '--cfg-options', RATE])
    log = max((tmp_path / 'w').glob('*/*.log')).read_text()
    assert log.index('Re-estimating BatchNorm') < log.index('Saving checkpoint at 4')
    dumped = Config.fromfile(tmp_path / 'w' / 'tiny.py')
    assert dumped.scheme.type == 'mmcosub.GroupKnowledge'


def test_a_scheme_of_ones_own(
    train: ModuleType, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = Path(__file__).parents[2] / 'docs' / 'examples'
    monkeypatch.syspath_prepend(examples)
    fragment = str(examples / 'r_drop_scheme.py')
    train.main([str(config), '--co-train', fragment])
    assert last_line(tmp_path / 'w')['decode.loss_co_training'] > 0
    lines = (examples / 'r_drop.py').read_text().splitlines()
    assert len(lines) <= 45
