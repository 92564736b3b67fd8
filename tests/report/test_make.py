"""From work directories to a page."""

import re
import shutil
from pathlib import Path

from mmcosub.report import make_report


def test_names_are_as_long_as_tells_runs_apart(plain_run: Path, tmp_path: Path) -> None:
    folders = ['exp1/seed0/cosub', 'exp2/seed0/cosub', 'exp2/seed1/cosub', 'plain']
    for name in folders:
        ignored = shutil.ignore_patterns('*.pth')
        shutil.copytree(plain_run, tmp_path / name, ignore=ignored)
    page = tmp_path / 'page.html'
    make_report([tmp_path / name for name in folders], page)
    found = re.findall(r'Config of ([^"]*)"', page.read_text())
    assert found == ['exp1/seed0/cosub', 'exp2/seed0/cosub', 'seed1/cosub', 'plain']
