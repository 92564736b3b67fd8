"""Models of which parts are compiled train as they do without."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.runner import Runner
from stock_settings import KINDS, SCHEMES, build, train

from mmcosub.models import compile_parts
from mmcosub.models.co_training import CoTraining

ignored = pytest.mark.filterwarnings('ignore')  # of the compiler's own
EAGER = dict(backend='eager')


def graphs() -> int:
    """Number of graphs that were compiled."""
    return torch._dynamo.utils.counters['stats']['unique_graphs']


def fresh_compiler() -> None:
    import torch._dynamo.utils

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def slow(*values: str) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@ignored
@pytest.mark.parametrize(
    ('scheme', 'kind'),
    [
        ('cosub', 'classifier'),
        ('cosub', 'segmentor of convolutions'),
        slow('augdrop', 'classifier'),
        slow('augmask', 'classifier'),
        slow('cosub', 'segmentor'),
        slow('gkt', 'cascade'),
    ],
)
@pytest.mark.sweep(every=2)
def test_trains_the_same(scheme: str, kind: str) -> None:
    fresh_compiler()
    logs, grads = train(build(KINDS[kind](), SCHEMES[scheme]), steps=4)
    model = build(KINDS[kind](), SCHEMES[scheme])
    compile_parts(model, EAGER)
    compiled_logs, compiled_grads = train(model, steps=4)
    for a, b in zip(compiled_logs, logs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    for a, b in zip(compiled_grads, grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert 0 < graphs() <= 2 * len(model.sites)


def test_options() -> None:
    model = build(KINDS['classifier'](), SCHEMES['cosub'])
    sites = model.sites
    for options in (dict(dynamic=False), dict(backend='eager', fullgraph=True), 'yes'):
        with pytest.raises(ValueError, match=r"is True or a dict with some of.*'mode'"):
            compile_parts(model, options)  # type: ignore[arg-type]
    assert model.sites is sites


@ignored
def test_unknown_blocks() -> None:
    fresh_compiler()
    scheme = {**SCHEMES['cosub'], 'execution': 'drop_path'}
    model = build(KINDS['classifier'](), scheme)
    expected = train(build(KINDS['classifier'](), scheme), steps=1)
    compile_parts(model, EAGER)
    assert train(model, steps=1)[0] == expected[0]
    assert graphs() == 0


@pytest.mark.parametrize('scheme', ['--co-train cosub', ''])
@pytest.mark.parametrize(
    ('option', 'given'),
    [
        ('compile=True', True),
        ('compile.backend=eager', dict(backend='eager')),
        ('compile=False', None),
    ],
)
@pytest.mark.sweep(every=3)
def test_the_key_of_configs(
    scheme: str,
    option: str,
    given: Any,
    train: ModuleType,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a scheme it is of parts, without one what MMEngine has."""
    seen: list[Any] = []

    def parts(model: CoTraining, options: Any) -> None:
        assert isinstance(model, CoTraining)
        seen.append(options)

    def whole(runner: Runner, target: str) -> None:
        seen.append(target)

    monkeypatch.setattr('mmcosub.engine.runner.compile_parts', parts)
    monkeypatch.setattr(Runner, '_maybe_compile', whole)
    argv = [str(config), *scheme.split(), '--cfg-options', 'train_cfg.max_iters=1']
    train.main([*argv, option])
    expected = [given] if given is not None else []
    assert seen == (expected if scheme else ['train_step'])
