from types import SimpleNamespace

import pytest

from mmcosub.engine.stopping import Stopped
from mmcosub.hooks import StopHook


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
    hook = StopHook(request, Stopped)
    hook.after_val_iter(runner, 0)
    assert len(asked) == 1
    with pytest.raises(Stopped):
        hook.after_val_iter(runner, 1)
