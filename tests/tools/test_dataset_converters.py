"""What all dataset converters have in common."""

import re

import pytest
from conftest import load_tool


@pytest.mark.parametrize('name', ['ade20k', 'digits', 'digit_scenes'])
def test_no_folder_can_be_made(name, tmp_path, capsys):
    (tmp_path / 'file').touch()
    tool = load_tool(f'dataset_converters/{name}')
    with pytest.raises(SystemExit) as exit_:
        tool.main(['--out', str(tmp_path / 'file' / 'x')])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r'file/x(/\w+\.json)?: Not a directory$', line)
