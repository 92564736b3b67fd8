"""The page on submodels says what the records say."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_page_is_written_from_the_records() -> None:
    spec = importlib.util.spec_from_file_location('sub', ROOT / 'docs/submodels.py')
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text() == script.page(), 'run `python docs/submodels.py`'
    for name in script.SWEEPS.values():
        record = script.read(name)
        assert set(record['checkpoints']) == {'plain', 'cosub'}
        point = script.curves(record)['cosub'][4]
        assert f'{point["metrics"][record["metric"]]:.1f}' in script.sweep_table(record)
