"""What a user can mend is one line and status 2, whatever it is."""

import json
from pathlib import Path

import pytest

from benchmarks.bad_inputs import CASES, try_case
from benchmarks.fault_tables import write_tables

SOME = sorted(CASES)[::30]


@pytest.mark.parametrize(
    'name',
    [
        name if name in SOME else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(CASES)
    ],
)
@pytest.mark.sweep(every=3)
def test_one_line(name: str, tmp_path: Path) -> None:
    result = try_case(CASES[name], tmp_path)
    assert result['outcome'] == 'one line', result


def test_tables(tmp_path: Path) -> None:
    page = tmp_path / 'page.md'
    page.write_text('a\n<!-- faults -->\nold\n<!-- /faults -->\nb\n')
    row = dict(kills=3, while_saving=1, lost=0, hangs=0, failed=[], differs=['x'])
    inputs = dict(a=dict(outcome='one line'), b=dict(outcome='traceback'))
    write_tables(dict(kills=dict(one=row), inputs=inputs), page)
    text = page.read_text()
    assert 'old' not in text
    assert '| kills | 3 | resumed bit-exactly | 1 |' in text
    assert '| bad inputs | 2 | one line, status 2 | 1 |' in text
    assert '| ... traceback | 1 | none | 1 |' in text
    assert '| one | 3 | 1 | 0 | 1 |' in text
    assert text.startswith('a\n')
    assert text.endswith('b\n')


def test_record_is_what_the_page_says(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    record = json.loads((root / 'benchmarks/results/faults.json').read_text())
    page = tmp_path / 'page.md'
    page.write_text((root / 'docs/reliability.md').read_text())
    write_tables(record, page)
    assert page.read_text() == (root / 'docs/reliability.md').read_text()
    assert all(each['outcome'] == 'one line' for each in record['inputs'].values())
    assert record['inputs'].keys() == CASES.keys()
