"""What the zoo says of its configs is what they are."""

import re
from pathlib import Path

import pytest
from mmengine.fileio import load

from docs import zoo

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in ('.', 'configs', 'docs')
    for path in (ROOT / folder).glob('*.md' if folder == '.' else '**/*.md')
)


@pytest.mark.slow
def test_what_is_written_is_what_the_configs_say():
    stale = [
        path.relative_to(ROOT).as_posix()
        for path, text in zoo.files()
        if path.read_text() != text
    ]
    assert not stale, f'{stale} are behind the configs: run `python docs/zoo.py`.'


def test_every_config_is_listed_once():
    models = [
        model
        for metafile in load(ROOT / 'model-index.yml')['Import']
        for model in load(ROOT / metafile)['Models']
    ]
    listed = sorted(ROOT / model['Config'] for model in models)
    assert listed == sorted(p for paths in zoo.config_files().values() for p in paths)
    assert len(listed) > 100
    for model in models:
        assert Path(model['Config']).stem == model['Name']
        assert model['Metadata']['Batch Size'] > 0
        assert 'Results' not in model  # none is measured


def test_collections_have_their_pages():
    for metafile in load(ROOT / 'model-index.yml')['Import']:
        (collection,) = load(ROOT / metafile)['Collections']
        assert (ROOT / collection['README']).parent == (ROOT / metafile).parent
        assert (ROOT / collection['README']).is_file()
        assert collection['Paper']['URL'].startswith('https://arxiv.org/abs/')


def test_accuracies_of_papers_are_of_configs_that_there_are():
    folder = ROOT / 'configs' / 'cosub_pretrain'
    published = load(folder / 'published.yml')
    assert {
        name for name in published if not (folder / f'{name}.py').is_file()
    } == set()


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_resolve(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    for target in re.findall(r'\]\((?!https?:|#)([^)#\s]+)', text):
        assert (page.parent / target).exists(), target


def test_a_config_of_a_bad_name(tmp_path):
    entry = zoo.Entry(tmp_path / 'mine.py', 1, '')
    with pytest.raises(ValueError, match=r'mine.py should be named MODEL_METHOD_'):
        entry.says  # noqa: B018


def test_a_config_without_a_table(tmp_path):
    (tmp_path / 'README.md').write_text(
        '<!-- table: *_in1k-* -->\n<!-- end of table -->\n'
    )
    entries = [
        zoo.Entry(tmp_path / f'net_cosub_1xb2-3e_{data}-4.py', 10**6, '0.1, constant')
        for data in ('in1k', 'in21k')
    ]
    with pytest.raises(
        ValueError, match=r"no table for \['net_cosub_1xb2-3e_in21k-4.py'\]"
    ):
        zoo.readme(tmp_path, entries)
    written = zoo.readme(tmp_path, entries[:1])
    assert '| [net](./net_cosub_1xb2-3e_in1k-4.py) | 0.1, constant | 1 M |\n' in written
