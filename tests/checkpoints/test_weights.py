"""Where files keep weights, averaged and trained ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from torch import nn

from mmcosub.checkpoints import read_checkpoint, select_weights, state_dict
from mmcosub.checkpoints.weights import sets_of_weights

TRAINED = {'a.weight': torch.ones(2)}
AVERAGE = {'a.weight': torch.full((2,), 2.0)}
KEYS = {
    'timm': ('state_dict', 'state_dict_ema'),
    'ConvNeXt': ('model', 'model_ema'),
    'DINO': ('student', 'teacher'),
    'diffusion': ('params', 'params_ema'),
}


def saved(content: Any, folder: Path) -> str:
    torch.save(content, folder / 'a.pth')
    return str(folder / 'a.pth')


def read_weights(
    file: str, which: str | None = None, option: str = '--backbone-weights'
) -> tuple[dict, str]:
    return select_weights(read_checkpoint(file), which, file, option)


def in_mmengine() -> dict:
    """What MMEngine's hook for averages puts into a file: the two exchanged."""
    hook, model = EMAHook(), nn.ModuleDict(dict(a=nn.Linear(2, 1, bias=False)))
    hook.ema_model = nn.ModuleDict(dict(module=model))
    checkpoint = dict(state_dict=AVERAGE)
    swapped = {'module.a.weight': TRAINED['a.weight'], 'steps': torch.tensor(3)}
    return {**checkpoint, 'ema_state_dict': swapped}


@pytest.mark.parametrize('kind', [*KEYS, 'MMEngine'])
def test_both_sets(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if kind == 'MMEngine':
        trained, average, content = 'ema_state_dict', 'state_dict', in_mmengine()
    else:
        trained, average = KEYS[kind]
        content = {
            trained: TRAINED,
            average: {f'module.{k}': v for k, v in AVERAGE.items()},
        }
    file = saved({**content, 'epoch': 3}, tmp_path)
    for which, name, value in (
        (None, average, 2), ('ema', average, 2), ('model', trained, 1),
        (trained, trained, 1), (average, average, 2),
    ):  # fmt: skip
        state, taken = read_weights(file, which)
        assert taken == name
        assert state.keys() == {'a.weight'}
        assert state['a.weight'][0] == value
    assert state_dict(content)['a.weight'][0] == 2


@pytest.mark.parametrize(
    'state',
    [
        dict(co_training_extras={'average.network.a.weight': TRAINED['a.weight']}),
        dict(callbacks={"Checkpoint{'k': 1}": dict(best={'a.ckpt': torch.ones(())})}),
        dict(optim={'state.a.weight.exp_avg': torch.ones(2)}),
    ],
    ids=['scheme', 'Lightning', 'flattened optimizer'],
)
def test_what_is_no_set_of_weights(state: dict) -> None:
    """With it, weights under an unusual key could not be told from it."""
    found = sets_of_weights(dict(mine=TRAINED, **state))
    assert [*found] == ['mine']


def test_choice_is_logged(tmp_path: Path) -> None:
    said: list[str] = []
    logger = MMLogger.get_current_instance()
    logger.addFilter(lambda record: said.append(record.getMessage()) or True)
    file = saved(dict(model=TRAINED, model_ema=AVERAGE), tmp_path)
    read_weights(file, option='--weights')
    assert said == [
        f'{file} has 2 sets of weights: model, model_ema (averaged). Taken: model_ema; '
        '--weights chooses another (ema, model or its name).'
    ]
    read_weights(file, 'model')
    read_weights(saved(dict(model_ema=AVERAGE), tmp_path))
    assert len(said) == 1
    logger.filters.pop()


@pytest.mark.parametrize(
    ('content', 'which', 'message'),
    [
        (dict(model_ema=AVERAGE), 'model', r'no weights model; .* model_ema \(aver'),
        (dict(model=TRAINED), 'ema', r'no weights ema; there are: model\. Choose with'),
        (dict(model=TRAINED), 'sum', r'no weights sum; there are: model\.'),
        (dict(up=TRAINED, down=AVERAGE), None, r'usual key; there are: up, down\. Ch'),
    ],
)
def test_sets_that_are_not_there(
    content: dict, which: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_weights(saved(content, tmp_path), which)


def test_teacher_of_a_distillation_is_no_average(tmp_path: Path) -> None:
    file = saved(dict(state_dict=TRAINED, teacher=AVERAGE), tmp_path)
    assert read_weights(file)[1] == 'state_dict'
    assert read_weights(file, 'teacher')[1] == 'teacher'


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_becomes_full(dtype: torch.dtype, tmp_path: Path) -> None:
    content = {'a.weight': torch.ones(2, dtype=dtype), 'a.steps': torch.tensor(1)}
    state, _ = read_weights(saved(content, tmp_path))
    assert state['a.weight'].dtype == max(
        dtype, torch.float32, key=lambda each: each.itemsize
    )
    assert state['a.steps'].dtype == torch.int64


def test_counter_of_averaged_model_is_no_weight() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert state_dict(averaged.state_dict()).keys() == model.state_dict().keys()


def test_flattened_weights_are_named(tmp_path: Path) -> None:
    flat = {f'blocks.{i}.attn.qkv.weight': torch.ones(12) for i in range(9)}
    with pytest.raises(ValueError, match='flattened weights, as FSDP'):
        read_weights(saved(flat, tmp_path))
