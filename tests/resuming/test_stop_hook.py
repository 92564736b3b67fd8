from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from numbers_run import numbers_run, validation

from mmcosub.hooks import StopHook
from mmcosub.resuming.stopping import Stopped


@pytest.mark.parametrize(
    'loaders',
    [
        dict(val_dataloader=SimpleNamespace(sampler=SimpleNamespace(round_up=True))),
        dict(val_dataloader=['one', 'another']),
        {},
    ],
)
def test_validations_over_any_loaders(loaders: dict) -> None:
    """A loop of a user's own may have several loaders, or none by that name."""
    asked = []
    request = SimpleNamespace(agreed=lambda: asked.append(1) or 15 * (len(asked) > 1))
    runner = SimpleNamespace(hooks=[], distributed=False, iter=3, **loaders)
    hook = StopHook(request)
    hook.after_val_iter(runner, 0)
    assert len(asked) == 1
    with pytest.raises(Stopped):
        hook.after_val_iter(runner, 1)


EMA_HOOKS = {
    'none': [],
    'mmengine': [dict(type='EMAHook', momentum=0.5)],
    'average': [dict(type='mmpretrain.EMAHook', momentum=0.5)],
    'both': [dict(type='mmpretrain.EMAHook', momentum=0.5, evaluate_on_origin=True)],
    'trained': [
        dict(
            type='mmpretrain.EMAHook',
            momentum=0.5,
            evaluate_on_ema=False,
            evaluate_on_origin=True,
        )
    ],
}


@pytest.mark.parametrize('hook', EMA_HOOKS)
@pytest.mark.parametrize('stop', range(1, 13))
def test_weights_saved_in_every_phase(hook: str, stop: int, tmp_path: Path) -> None:
    """Two iterations of each epoch, then 2 batches validated, or 4 by 'both'.

    An iteration takes 0.1 times its mean number, 0.5 or 2.5, from the weight.
    """
    run = numbers_run(
        tmp_path,
        batch=2,
        epochs=3,
        count=4,
        stop=stop,
        custom_hooks=EMA_HOOKS[hook],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=10)),
        **validation(4, 2),
    )
    with pytest.raises(Stopped):
        run.train()
    saved = (tmp_path / 'last_checkpoint').read_text()
    checkpoint = torch.load(saved, weights_only=False)
    weight = average = 1.0
    for number in range(checkpoint['meta']['iter']):
        weight -= 0.1 * (0.5, 2.5)[number % 2]
        average = (average + weight) / 2 if number else weight
    found = checkpoint['state_dict']['weight'].item()
    assert found == pytest.approx(weight if hook == 'none' else average)
    if hook != 'none':
        kept = checkpoint['ema_state_dict']['module.weight'].item()
        assert kept == pytest.approx(weight)
