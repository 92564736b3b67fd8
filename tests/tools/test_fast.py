"""``--fast`` has attention computed the faster way, and checkpoints stay stock."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmcosub.fast.attention as shift_window


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes that windowed attention was computed for the faster way."""
    found = []

    def spy(qkv: torch.Tensor, *args: object) -> torch.Tensor:
        found.append(qkv.shape)
        return original(qkv, *args)

    original = shift_window.window_attention
    monkeypatch.setattr(shift_window, 'window_attention', spy)
    return found


def test_training_and_testing(
    train: ModuleType,
    test_tool: ModuleType,
    config: Path,
    tmp_path: Path,
    calls: list[torch.Size],
) -> None:
    train.main([str(config), '--co-train', 'cosub', '--fast'])
    assert calls
    checkpoint = tmp_path / 'w' / 'iter_4.pth'
    model = MODELS.build(Config.fromfile(config).model)
    saved = torch.load(checkpoint, weights_only=False)['state_dict']
    model.load_state_dict(saved, strict=True)
    for flags in ([], ['--tta']):
        results = []
        for fast in ([], ['--fast']):
            calls.clear()
            results.append(
                test_tool.main([str(config), str(checkpoint), *flags, *fast])
            )
            assert bool(calls) == bool(fast)
        # Percent of pixels, of which a few may be as likely one class as another.
        assert results[1] == pytest.approx(results[0], abs=0.2)


def test_a_stock_run_is_left_alone(
    train: ModuleType, config: Path, calls: list[torch.Size]
) -> None:
    train.main([str(config), '--cfg-options', 'train_cfg.max_iters=1'])
    assert not calls


@pytest.mark.parametrize(
    ('flag', 'hook'), [('--fast', 'EMAHook'), ('--tta', 'mmpretrain.EMAHook')]
)
def test_averaged_weights(
    test_tool: ModuleType, config: Path, tmp_path: Path, flag: str, hook: str
) -> None:
    """They are what the checkpoint has, so EMAHook changes nothing."""
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(config).model)
    for module in model.modules():  # norms that folding does not leave as they are
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2)
            module.running_var.uniform_(0.5, 2)
    checkpoint = tmp_path / 'average.pth'
    state = model.state_dict()
    others = {f'module.{name}': torch.zeros_like(v) for name, v in state.items()}
    torch.save(dict(state_dict=state, ema_state_dict=others), checkpoint)
    expected = test_tool.main([str(config), str(checkpoint), flag])
    with config.open('a') as file:
        file.write(f'custom_hooks = [dict(type={hook!r})]\n')
    got = test_tool.main([str(config), str(checkpoint), flag])
    assert got == pytest.approx(expected, abs=1e-6)
