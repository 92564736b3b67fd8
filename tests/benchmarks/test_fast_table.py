"""The table of speed shows ranges over records, never the best of them."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import fast_table


def record(precision: str, ratio: float, limit: str | None) -> dict:
    """A record of two cases in one precision."""
    rows = {
        'swin: plain': dict(ratio=1.0, at_most=None),
        'swin: fast': dict(ratio=ratio, at_most=0.45, arithmetic=0.3),
    }
    return dict(
        processor='P', instruction_set='AVX2', limit=limit, threads=1, torch='2',
        precision=precision, time='processor', result=rows,
    )  # fmt: skip


def test_page_gets_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, page = tmp_path / 'fast.json', tmp_path / 'fast.md'
    several = [
        record('float32', 0.4, None),
        record('float32', 0.5, 'AVX2'),
        record('bfloat16', 0.6, None),
    ]
    records.write_text(json.dumps(several))
    first, last = fast_table.MARKS
    page.write_text(f'before\n{first}\nold\n{last}\nafter\n')
    argv = ['fast_table.py', str(records), '--page', str(page)]
    monkeypatch.setattr(sys, 'argv', argv)
    for _ in range(2):  # the second time in place of the first
        fast_table.main()
        text = page.read_text()
        assert '| swin: fast | 0.40 to 0.50 | 0.60 | 0.30 | 0.45 |' in text
        assert 'swin: plain' not in text.replace('swin: plain,', '')
        assert 'P, AVX2 (limit: none), 1 thread(s), float32, processor time' in text
        assert text.startswith('before\n')
        assert text.endswith('after\n')
        assert 'old' not in text
