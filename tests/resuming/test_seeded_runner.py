"""What a runner may open is its own affair."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import checkpoint
from numbers_run import numbers_run

from mmcosub.resuming.seeded_runner import SeededRunner


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


class Stock:
    """A runner that opens a file in MMEngine's way, as `init_cfg` does."""

    _train_loop = _val_loop = None

    def __init__(self, file: Path, **cfg: Any) -> None:
        self.file, self.cfg = str(file), Config(cfg)

    def train(self) -> Any:
        return checkpoint.load_from_local(self.file, 'cpu')

    val = test = train


class OurRunner(SeededRunner, Stock):
    """The same with our mixin."""


@pytest.mark.parametrize('task', ['train', 'val', 'test'])
def test_trust_is_of_one_runner(task: str, tmp_path: Path) -> None:
    mark, file = tmp_path / 'it_ran', tmp_path / 'a.pth'
    torch.save(dict(state_dict={'a.weight': torch.ones(1)}, extra=Evil(mark)), file)
    opener = checkpoint._safe_torch_load
    wary, trusting = OurRunner(file), OurRunner(file, trust_checkpoint=True)
    for _ in range(2):
        with pytest.raises(ValueError, match=r'mkdir.*--trust-checkpoint'):
            getattr(wary, task)()
        assert not mark.exists()
        getattr(trusting, task)()
        mark.rmdir()
    # Nor is anything left behind for runners that are not ours.
    assert checkpoint._safe_torch_load is opener


def test_runner_trains_once(tmp_path: Path) -> None:
    """A second time would load a pretrained backbone over the trained one."""
    run = numbers_run(tmp_path, 4, 1)
    run.train()
    run.train_loop._max_epochs = 2
    with pytest.raises(ValueError, match=r'trained for 4 .* resume=True'):
        run.train()
