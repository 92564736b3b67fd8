"""What is for those who carry on says what is so."""

import re
from pathlib import Path

import pytest
import yaml

import mmcosub

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / '.github' / 'ISSUE_TEMPLATE').glob('*.yml'))


def test_citation() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0'
    assert citation['version'] == mmcosub.__version__
    assert citation['title'] == 'mmcosub'
    for field in ('message', 'authors', 'license'):
        assert citation[field]
    (paper,) = citation['references']
    text = (ROOT / 'configs' / 'cosub' / 'README.md').read_text()
    assert paper['url'] in text


def test_commits_are_checked_as_by_hand() -> None:
    settings = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    ((hook,),) = (repo['hooks'] for repo in settings['repos'])
    assert (hook['entry'], hook['language']) == ('make lint', 'system')
    assert re.search('^lint:', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    assert 'make lint\n' in (ROOT / '.ci' / 'run').read_text()


@pytest.mark.parametrize('page', ['CONTRIBUTING.md', 'SECURITY.md', 'README.md'])
def test_places_that_pages_name_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    code = re.findall(r'`([^`\s]+)`', re.sub(r'```.*?```', '', text, flags=re.DOTALL))
    places = r'(?:mmcosub|configs|tests|benchmarks|tools|docs|requirements)/[\w./-]+'
    named = [name for name in code if re.fullmatch(places, name)]
    assert named or page != 'CONTRIBUTING.md'
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_targets_that_pages_name_are_there() -> None:
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    for page in ('CONTRIBUTING.md', 'README.md'):
        named = re.findall(r'`?make ([a-z-]+)', (ROOT / page).read_text())
        assert named
        assert {*named} <= {*targets}, page


@pytest.mark.parametrize('template', TEMPLATES, ids=lambda path: path.stem)
def test_issue_templates(template: Path) -> None:
    form = yaml.safe_load(template.read_text())
    if template.stem == 'config':
        assert form == {'blank_issues_enabled': True}
        return
    assert form['name']
    assert form['description']
    ids = [field['id'] for field in form['body']]
    assert len(ids) == len(set(ids))
    for field in form['body']:
        assert field['type'] in ('textarea', 'checkboxes', 'input', 'dropdown')
        assert field['attributes']['label']


def test_there_are_issue_templates() -> None:
    assert [path.stem for path in TEMPLATES] == ['bug', 'config', 'feature']


def test_messages_name_no_page_that_a_wheel_lacks() -> None:
    code = {path: path.read_text() for path in (ROOT / 'mmcosub').rglob('*.py')}
    cited = r"""['"][^'"\n]*docs/\w+\.md[^'"\n]*['"]"""
    assert [path for path, text in code.items() if re.search(cited, text)] == []
