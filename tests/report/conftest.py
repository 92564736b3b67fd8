from pathlib import Path
from types import ModuleType

import pytest
from stock import segmentation_config, write_config


@pytest.fixture(scope='session')
def cosub_run(
    train: ModuleType, tmp_path_factory: pytest.TempPathFactory, scenes: Path
) -> Path:
    """Work directory of a co-trained run of six iterations, killed at the fourth.

    It was resumed from the second, so iterations 3 and 4 are logged twice.
    """
    root = tmp_path_factory.mktemp('cosub')
    cfg = segmentation_config(scenes)
    path = write_config(root / 'tiny.py', cfg)
    argv = [str(path), '--work-dir', str(root / 'run'), '--co-train', 'cosub']
    argv += ['--cfg-options', 'train_cfg.val_interval=2', 'train_cfg.max_iters=']
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', '0')
        train.main([*argv[:-1], 'train_cfg.max_iters=4'])
        first = next((root / 'run').glob('*/vis_data')).parent
        first.rename(first.with_name('20200101_000000'))  # a second apart at least
        (root / 'run' / 'iter_4.pth').unlink()
        (root / 'run' / 'last_checkpoint').unlink()
        train.main([*argv[:-1], 'train_cfg.max_iters=6', '--resume'])
    return root / 'run'


@pytest.fixture(scope='session')
def plain_run(
    train: ModuleType, tmp_path_factory: pytest.TempPathFactory, scenes: Path
) -> Path:
    """Work directory of a plain run of the same model on the same data."""
    root = tmp_path_factory.mktemp('plain')
    path = write_config(root / 'tiny.py', segmentation_config(scenes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', '0')
        train.main([str(path), '--work-dir', str(root / 'run')])
    return root / 'run'
