import os

# Before torch: the workers of pytest-xdist share the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import gc
import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Import the stack, except where pytest-xdist only hands out the tests."""
    plugins = session.config.pluginmanager
    if not plugins.hasplugin('dsession'):
        gc.disable()  # until the tests begin: what is imported stays
        plugins.import_plugin('shared_fixtures')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a sweep, `make test` runs every nth case and `make test-all` all.

    If n and the number of values of the innermost parameter had a common factor, some
    of these values would never be taken.
    """
    seen: Counter[str] = Counter()
    for item in items:
        sweep = item.get_closest_marker('sweep')
        if sweep is not None:
            name = item.nodeid.partition('[')[0]
            if seen[name] % sweep.kwargs['every']:
                item.add_marker(pytest.mark.slow)
            seen[name] += 1


def load_tool(name: str) -> ModuleType:
    """Import a script of tools/, without running it."""
    path = Path(__file__).parents[1] / 'tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tools_{path.stem}', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = module.main

    from stock import forget_runners

    def main(*args: object) -> object:
        # MMEngine names a run by the second: two in one would be taken for one.
        forget_runners()
        return run(*args)

    module.main = main
    return module
