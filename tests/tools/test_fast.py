"""``--fast`` has attention computed the faster way, and checkpoints stay stock."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

import mmcosub.models.attention.shift_window as shift_window


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
