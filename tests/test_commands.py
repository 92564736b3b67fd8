"""Commands in README and docs: there is what they name, and it takes what they give."""

import argparse
import re
import runpy
import sys
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import pytest
from documented import PAGES, ROOT, Command, blocks, commands

from mmcosub.cli.main import scripts
from mmcosub.config.co_train import list_schemes
from mmcosub.config.loading import find_config, load_config

# What stands for a name of the reader's.
PLACEHOLDER = re.compile(r'[A-Z_]{2,}(\.\w+)?|(work_dirs|mine)/.*')
OWN_COMMANDS = ('info', 'completion', 'COMMAND')
OUTSIDE = ('pip', 'apt-get', 'tensorboard', 'git')
COMMANDS = commands()
assert len(COMMANDS) > 50


class ParsedError(BaseException):
    """Ends a script as soon as it has read its arguments."""

    def __init__(self, args: Namespace) -> None:
        self.args_of_script = args


def parsed(script: Path, argv: list[str], monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Arguments as a script, or a package, reads them; it does nothing else."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        raise ParsedError(parse(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_and_stop)
    monkeypatch.setattr(sys, 'argv', [str(script), *argv])
    monkeypatch.syspath_prepend(str(script.parent))
    before = dict(sys.modules)
    try:
        if script.name == '__main__.py':
            package = '.'.join(script.parent.relative_to(ROOT).parts)
            runpy.run_module(package, run_name='__main__')
        else:
            runpy.run_path(str(script), run_name='__main__')
    except ParsedError as stopped:
        return stopped.args_of_script
    finally:
        for name in {*sys.modules} - {*before}:
            origin = getattr(sys.modules[name], '__file__', None) or ''
            if Path(origin).parent == script.parent:
                del sys.modules[name]  # another folder may have one of that name
    raise AssertionError(f'{script} reads no arguments')


def check_script(
    script: Path, argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that a script takes the arguments, and configs, schemes, options in it."""
    assert script.is_file(), f'there is no {script}'
    if 'pars' not in script.read_text() and 'main(argv' not in script.read_text():
        assert not argv, f'{script} takes no arguments'
        return
    if '--help' in argv:
        return
    args = parsed(script, argv, monkeypatch)
    config = getattr(args, 'config', None)
    scheme = getattr(args, 'co_train', None)
    if scheme and PLACEHOLDER.fullmatch(scheme):
        args.co_train = None
    elif scheme:
        assert scheme in list_schemes() or (ROOT / scheme).is_file()
    if not isinstance(config, str) or PLACEHOLDER.fullmatch(config):
        return
    if '::' not in config and not config.startswith('configs/'):
        # One that the page has the reader write.
        assert any(config in block for block in ALL_PYTHON), f'who writes {config}?'
        return
    monkeypatch.chdir(ROOT)
    if hasattr(args, 'launcher'):
        load_config(args)  # the scheme is known and fits, the options are well formed
    else:
        find_config(config)


ALL_PYTHON = [code for page in PAGES for code in blocks(page.read_text(), 'python')]


def check(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a command of a page."""
    program, *rest = command.words
    if program == 'torchrun':
        rest = rest[1:] if rest[0].startswith('--nproc_per_node') else rest
        program = 'python'
    if program == 'mim':
        assert rest[1:2] in ([], ['mmcosub'])
        program, rest = 'mmcosub', [rest[0], *rest[2:]]
    if program == 'python' and rest[:2] == ['-m', 'mmcosub']:
        program, rest = 'mmcosub', rest[2:]

    if program in OUTSIDE:
        if program == 'pip':
            assert rest[0] == 'install'
            for file in [b for a, b in pairwise(rest) if a == '-r']:
                assert (ROOT / file).is_file()
    elif program == 'make':
        makefile = (ROOT / 'Makefile').read_text()
        assert re.search(rf'^{re.escape(rest[0])}:', makefile, re.MULTILINE)
    elif program == 'mmcosub':
        if rest and rest[0] not in (*OWN_COMMANDS, '--help'):
            script = scripts()[rest[0]]
            if rest[1:]:  # not the mere name of a command
                check_script(script, rest[1:], monkeypatch)
    elif program == 'python' and rest[0] == '-c':
        compile(rest[1], command.page, 'exec')
    elif program == 'python' and rest[0] == '-m':
        module = ROOT / rest[1].replace('.', '/')
        script = (
            module / '__main__.py' if module.is_dir() else module.with_suffix('.py')
        )
        check_script(script, rest[2:], monkeypatch)
    elif program == 'python':
        check_script(ROOT / rest[0], rest[1:], monkeypatch)
    else:
        script = rest.pop(0) if program == 'bash' else program
        assert (ROOT / script).is_file(), f'what is {program}?'
        kind = 'train' if 'train' in script else 'test'
        plain = rest[:1] + rest[2:] if kind == 'train' else rest[:2] + rest[3:]
        if script.startswith('tools/dist'):  # CONFIG [CHECKPOINT] GPUS ...
            check_script(ROOT / 'tools' / f'{kind}.py', plain, monkeypatch)


@pytest.mark.parametrize('command', COMMANDS, ids=lambda c: f'{c.page}: {c.text}')
def test_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    check(command, monkeypatch)


@pytest.mark.parametrize(
    'wrong',
    [
        'python tools/no_such_tool.py',
        'python tools/train.py CONFIG --no-such-flag',
        'python tools/train.py CONFIG --co-train no_such_scheme',
        'python tools/train.py configs/cosub/no_such_config.py',
        'python tools/train.py no_such_config.py',
        'python tools/train.py mmseg::swin/no_such_config.py',
        'python benchmarks/fast.py --groups no_such_group',
        'python -m no.such.module',
        'mmcosub no-such-command CONFIG',
        'bash tools/dist_train.sh CONFIG 8 --no-such-flag',
        'bash no_such_script.sh',
        'make no-such-target',
        'pip install -r requirements/no_such_file.txt',
    ],
)
def test_what_is_not_there_is_found(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((AssertionError, SystemExit, ValueError, KeyError)):
        check(Command('a page', wrong), monkeypatch)


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_on_pages(page: Path) -> None:
    """It can be read, and the bases of configs in it are there."""
    for code in blocks(page.read_text(), 'python'):
        compile(code, str(page), 'exec')
        for name in re.findall(r"'(\w+::[^']+)'", code):
            if '...' not in name:
                find_config(name)
