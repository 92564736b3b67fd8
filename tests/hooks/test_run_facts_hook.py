"""RunFactsHook: what it writes down of how a run was started."""

import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from mmcosub.hooks.run_facts_hook import git_state


def test_facts(train: ModuleType, config: Path, tmp_path: Path) -> None:
    train.main([str(config), '--cfg-options', 'train_cfg.max_iters=1'])
    (file,) = (tmp_path / 'w').glob('*/facts.json')
    facts = json.loads(file.read_text())
    assert facts['config'] == str(config)
    assert facts['folder'] == str(Path.cwd())
    assert (facts['seed'], facts['processes']) == (0, 1)
    assert {'mmcosub', 'torch', 'torchvision', 'Python'} <= facts['versions'].keys()
    assert facts['devices']


def test_commit_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*argv: str) -> str:
        named = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
        command = ['git', '-C', str(tmp_path), *named, *argv]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert git_state(tmp_path) is None
    git('init')
    (tmp_path / 'a').write_text('1')
    git('add', 'a')
    git('commit', '-m', 'one')
    commit = git('rev-parse', 'HEAD')
    (tmp_path / 'b').write_text('of no commit')
    assert git_state(tmp_path) == dict(commit=commit, changed=False)
    (tmp_path / 'a').write_text('2')
    assert git_state(tmp_path) == dict(commit=commit, changed=True)
    monkeypatch.setenv('PATH', '')
    assert git_state(tmp_path) is None
