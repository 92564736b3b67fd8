"""The documentation as pages: built without a warning, and complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / 'docs').glob('*.md'))


@pytest.mark.slow
def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip('sphinx_external_toc')
    pytest.importorskip('myst_nb')
    makefile = (ROOT / 'Makefile').read_text()
    command = re.search(r'python (-m sphinx .*) build/docs\n', makefile)
    assert command is not None
    out = tmp_path / 'site'
    argv = command[1].replace('build/doctrees', str(tmp_path / 'doctrees')).split()
    done = subprocess.run(
        [sys.executable, *argv, str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert 'url=docs/index.html' in (out / 'index.html').read_text()
    built = {path.stem for path in (out / 'docs').glob('*.html')}
    assert {page.stem for page in PAGES} <= built
    # Nothing is loaded from elsewhere when a page is opened.
    page = (out / 'docs' / 'index.html').read_text()
    assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?://', page)


def entries(tree: dict) -> set[str]:
    """Pages that a table of contents names."""
    found = {value for key, value in tree.items() if key in ('file', 'root')}
    if 'glob' in tree:
        pages = ROOT.glob(f'{tree["glob"]}.md')
        found |= {str(page.relative_to(ROOT).with_suffix('')) for page in pages}
    for below in ('subtrees', 'entries'):
        for each in tree.get(below, ()):
            found |= entries(each)
    return found


def test_every_page_has_its_place() -> None:
    contents = yaml.safe_load((ROOT / 'docs' / 'site' / 'contents.yml').read_text())
    named = entries(contents)
    assert {f'docs/{page.stem}' for page in PAGES} <= named
    assert [name for name in named if not list(ROOT.glob(f'{name}.*'))] == []
