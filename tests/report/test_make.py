"""From work directories to a page."""

import base64
import csv
import hashlib
import re
import shutil
from pathlib import Path

from mmcosub.report import make_report
from mmcosub.report.run import read_run


def test_names_are_as_long_as_tells_runs_apart(plain_run: Path, tmp_path: Path) -> None:
    folders = ['exp1/seed0/cosub', 'exp2/seed0/cosub', 'exp2/seed1/cosub', 'plain']
    for name in folders:
        ignored = shutil.ignore_patterns('*.pth')
        shutil.copytree(plain_run, tmp_path / name, ignore=ignored)
    page = tmp_path / 'page.html'
    make_report([tmp_path / name for name in folders], page)
    found = re.findall(r'Config of ([^"]*)"', page.read_text())
    assert found == ['exp1/seed0/cosub', 'exp2/seed0/cosub', 'seed1/cosub', 'plain']


def test_the_only_script_that_may_run_sorts_tables(
    plain_run: Path, cosub_run: Path, tmp_path: Path
) -> None:
    make_report([plain_run, cosub_run], tmp_path / 'page.html')
    page = (tmp_path / 'page.html').read_text()
    (script,) = re.findall(r'<script>(.*?)</script>', page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page
    assert 'table.sortable' in script
    (table,) = re.findall(r'<table class="summary sortable">.*?</table>', page, re.S)
    assert re.findall(r'<tr class="(run-\d)">', table) == ['run-0', 'run-1']
    assert '<th scope="col">mIoU, last</th>' in table
    assert '<button' not in page  # which does nothing without the script


def test_tables_beside_the_page(
    plain_run: Path, cosub_run: Path, tmp_path: Path
) -> None:
    make_report([plain_run, cosub_run], tmp_path / 'page.html')
    assert 'page-runs.csv and page-curves.csv' in (tmp_path / 'page.html').read_text()
    runs, curves = (
        list(csv.DictReader((tmp_path / f'page-{of}.csv').read_text().splitlines()))
        for of in ('runs', 'curves')
    )
    records = [read_run(folder).records for folder in (plain_run, cosub_run)]
    assert [row['method'] for row in runs] == ['baseline', 'Cosub']
    for row, read in zip(runs, records, strict=True):
        assert float(row['last']) == read.series('mIoU')[-1][1]
        assert float(row['best']) == max(value for _, value in read.series('mIoU'))
        assert (row['metric'], row['seed']) == ('mIoU', '0')
        logged = [each for each in curves if each['run'] == row['run']]
        for key in ('loss', 'mIoU', 'co_training'):
            points = [(float(r['iteration']), float(r[key])) for r in logged if r[key]]
            assert points == read.series(key)
