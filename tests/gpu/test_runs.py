"""Whole runs of tools/train.py on a GPU: loss scaling and NCCL."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from launch import free_port, run

from mmcosub.checkpoints import read_checkpoint

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
AMP = ['--co-train', 'cosub', '--amp', '--cfg-options', 'randomness.seed=0']


def test_loss_scaling_goes_on(train: ModuleType, config: Path, tmp_path: Path) -> None:
    """Half precision with a loss scaler; stopped and resumed it has the same state."""
    folders = [tmp_path / 'whole', tmp_path / 'parts']
    train.main([str(config), '--work-dir', str(folders[0]), *AMP])
    argv = [str(config), '--work-dir', str(folders[1]), *AMP]
    train.main([*argv, 'train_cfg.max_iters=2'])
    train.main([*argv[:3], '--resume', *argv[3:]])
    whole, parts = (read_checkpoint(str(f / 'iter_4.pth')) for f in folders)
    assert whole['optimizer']['loss_scaler'] == parts['optimizer']['loss_scaler']
    assert whole['optimizer']['loss_scaler']['scale'] > 1
    for name, value in whole['state_dict'].items():
        # Sums on a GPU are in no fixed order.
        torch.testing.assert_close(
            value, parts['state_dict'][name], rtol=1e-2, atol=1e-3, msg=name
        )


@pytest.mark.parametrize('scheme', ['cosub', 'augpath'])
def test_nccl(train: ModuleType, config: Path, tmp_path: Path, scheme: str) -> None:
    """One process under DDP, SyncBN and NCCL, as on several GPUs, or without them."""
    options = ['model.decode_head.norm_cfg.type=SyncBN', 'randomness.seed=0']
    # AdamW would make much of the rounding of gradients near 0.
    options += [f'optim_wrapper.optimizer.{each}' for each in ('type=SGD', 'lr=0.01')]
    more = ['--co-train', scheme, '--cfg-options', *options]
    done = run('dist_train.sh', config, 1, *more, PORT=free_port())
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-6000:]
    options[0] = 'model.decode_head.norm_cfg.type=BN'
    train.main(
        [str(config), '--work-dir', str(tmp_path / 'alone'), *more[:3], *options]
    )
    saved, alone = (
        read_checkpoint(str(tmp_path / folder / 'iter_4.pth'))['state_dict']
        for folder in ('w', 'alone')
    )
    for name, value in saved.items():
        # Sums on a GPU are in no fixed order.
        torch.testing.assert_close(value, alone[name], rtol=1e-2, atol=1e-3, msg=name)
