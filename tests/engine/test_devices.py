"""AnyDeviceRunner: mixed precision, SyncBN and lean steps wherever a run is."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from stock import runner_of
from torch import distributed, nn

from mmcosub.engine.devices import (
    AnyDeviceRunner,
    CPUAmpOptimWrapper,
    stepping_wrapper,
)
from mmcosub.models.co_training import CoTrainingDistributedDataParallel


def test_sync_bn_without_a_gpu(config: Path) -> None:
    """A stock config has SyncBN, which has no CPU implementation."""
    sync = dict(type='SyncBN', requires_grad=True)
    changes = {f'model.{h}_head.norm_cfg': sync for h in ('decode', 'auxiliary')}
    runner = runner_of(config, **changes, **{'train_cfg.max_iters': 1})
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in runner.model.modules())
    plain = runner_of(config)
    assert runner.model.state_dict().keys() == plain.model.state_dict().keys()
    runner.train()


@pytest.mark.skipif(get_device() != 'cpu', reason='about machines without a GPU')
@pytest.mark.parametrize('given', ['AmpOptimWrapper', 'OptimWrapper'])
def test_amp_without_a_gpu(config: Path, given: str) -> None:
    runner = runner_of(config, **{'optim_wrapper.type': given})
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    assert isinstance(wrapper, OptimWrapper)
    amp = given == 'AmpOptimWrapper'
    assert isinstance(wrapper, CPUAmpOptimWrapper) is amp
    with wrapper.optim_context(runner.model):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if amp else torch.float32)
    # It takes up the state of a run with a loss scaler.
    state = wrapper.state_dict()
    wrapper.load_state_dict({**state, 'loss_scaler': {}} if amp else state)


def test_results_are_collected_in_the_folder_of_the_start(config: Path) -> None:
    """A test in the work directory of a run that validates leaves its results alone."""
    runner = runner_of(config)
    (metric,) = runner.build_evaluator(dict(type='IoUMetric')).metrics
    assert Path(metric.collect_dir).parent == Path(runner.log_dir)


def test_a_given_wrapper_keeps_lean_steps() -> None:
    cfg = dict(type='MMDistributedDataParallel', find_unused_parameters=True)
    assert stepping_wrapper(cfg) == dict(
        type='CoTrainingDistributedDataParallel', find_unused_parameters=True
    )
    with pytest.raises(ValueError, match=r"'MMFullyShardedDataParallel'.*lean=False"):
        stepping_wrapper(dict(type='MMFullyShardedDataParallel'))


@pytest.mark.skipif(get_device() != 'cpu', reason='about machines without a GPU')
def test_a_given_wrapper_without_a_gpu(tmp_path: Path) -> None:
    """MMEngine gives it the number of a GPU, and SyncBN stays."""
    place = f'file://{tmp_path / "place"}'
    distributed.init_process_group('gloo', place, rank=0, world_size=1)
    try:
        wrapped = AnyDeviceRunner.wrap_model(
            SimpleNamespace(distributed=True, cfg={}),
            dict(type='MMDistributedDataParallel', find_unused_parameters=True),
            nn.Sequential(nn.Linear(1, 1), nn.SyncBatchNorm(1)),
        )
    finally:
        distributed.destroy_process_group()
    assert isinstance(wrapped, CoTrainingDistributedDataParallel)
    assert wrapped.find_unused_parameters
    assert not isinstance(wrapped.module[1], nn.SyncBatchNorm)
