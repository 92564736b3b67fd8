"""On a device that is not the host, tensors of the two are never mixed.

The device is pretended, so this tells neither speed nor precision: `make gpu` does.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.device import utils
from pretended import DEVICE, Away, Pretending, move
from stock import runner_of
from stock_settings import KINDS, SCHEMES, batch, build, train
from torch import Tensor

from mmcosub.config.co_train import accelerated_model
from mmcosub.fast.attention import accelerate_attention

FAST = ['cosub', 'augpath', 'collaboration', 'stochastic_depth']
CASES = [
    *((scheme, 'segmentor', False) for scheme in SCHEMES),
    *((scheme, 'segmentor', True) for scheme in FAST),
    *(('cosub', kind, False) for kind in KINDS if kind != 'segmentor'),
    *((scheme, 'classifier', False) for scheme in ('augmask', 'gkt')),
]


def model_of(kind: str, scheme: str, fast: bool) -> Any:
    cfg = KINDS[kind]()
    model = build(accelerated_model(cfg) if fast else cfg, SCHEMES[scheme])
    if fast:
        accelerate_attention(model)
    return model


def moved(data: dict) -> dict:
    """A batch whose images and labels are on the device."""
    samples = copy.deepcopy(data['data_samples'])
    for sample in samples:
        label = sample.get('gt_sem_seg', sample)
        name = 'gt_label' if label is sample else 'data'
        vars(label)[name] = Away(label.get(name))
    return dict(inputs=Away(data['inputs']), data_samples=samples)


@pytest.mark.parametrize(('scheme', 'kind', 'fast'), CASES)
@pytest.mark.sweep(every=4)
def test_training_computes_there_what_it_does_here(
    scheme: str, kind: str, fast: bool
) -> None:
    _, expected = train(model_of(kind, scheme, fast))
    model = model_of(kind, scheme, fast)
    with Pretending():
        _, found = train(move(model), data=moved(batch(model)))
    for of_step, ours in zip(expected, found, strict=True):
        for name, grad in of_step.items():
            if grad is None:
                assert ours[name] is None
                continue
            assert isinstance(ours[name], Away)
            torch.testing.assert_close(ours[name].values, grad, rtol=1e-9, atol=1e-9)


# PyTorch does not know that these parameters on 'meta' have values.
@pytest.mark.filterwarnings('ignore:.*a meta parameter in the current model')
@pytest.mark.parametrize('fast', [False, True])
@pytest.mark.slow
def test_a_run_and_its_resumption(
    config: Path, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved() -> dict[str, Tensor]:
        # AdamW would make whole steps of rounding errors.
        changes: dict[str, Any] = {'fast': fast, 'optim_wrapper.optimizer.type': 'SGD'}
        runner_of(config, **changes).train()
        changes.update({'resume': True, 'train_cfg.max_iters': 6})
        runner = runner_of(config, **changes)
        runner.train()
        on_device = {isinstance(p, Away) for p in runner.model.parameters()}
        assert on_device == {DEVICE.type == utils.DEVICE}
        path = Path(runner.work_dir, 'iter_6.pth')
        return torch.load(path, weights_only=False)['state_dict']

    expected = saved()
    shutil.rmtree(Config.fromfile(config).work_dir)
    monkeypatch.setattr(utils, 'DEVICE', DEVICE.type)  # as MMEngine finds it
    with Pretending():
        found = saved()
    assert all(type(value) is Tensor for value in found.values())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    'mixed',
    [
        lambda x, y: x + y,
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.where(x > 0, x, y),
        lambda x, y: y[(x > 0).values.nonzero()[:, 0]] + x[:1],
        lambda x, y: y.index_put_((x.long().abs() % 3,), y),
    ],
)
def test_the_check_can_fail(mixed: Any) -> None:
    here = torch.randn(3)
    with pytest.raises(RuntimeError, match='mixes'), Pretending():
        mixed(Away(here), here)
