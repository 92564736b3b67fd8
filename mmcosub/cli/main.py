"""The command ``mmcosub``, which runs the scripts of ``tools/``."""

import ast
import importlib.util
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import mmcosub
from mmcosub.names import did_you_mean, packaged
from mmcosub.stack import check_stack, ignore_known_warnings

# Commands that are not named like their script.
_SHORT = {'browse_dataset': 'browse'}
_FOLDERS = {
    '': 'Commands',
    'analysis_tools': 'Analysis',
    'model_converters': 'Weights',
    'dataset_converters': 'Data',
    'misc': 'Configs',
}


def scripts() -> dict[str, Path]:
    """Return the scripts of ``tools/``, which come with the package, by command."""
    tools = packaged('tools')
    paths = sorted(tools.glob('*.py')) + sorted(tools.glob('*/*.py'))
    return {_SHORT.get(p.stem, p.stem).replace('_', '-'): p for p in paths}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, by default of the process's arguments; return the exit status."""
    ignore_known_warnings()
    given = list(sys.argv[1:] if argv is None else argv)
    name, *rest = given or ['--help']
    if name in ('-h', '--help'):
        print(overview())
        return 0
    if name == '--version':
        print(mmcosub.__version__)
        return 0
    if name in _OWN:
        return _OWN[name](rest)
    known = scripts()
    if name not in known:
        commands = [*known, *_OWN]
        print(
            f'mmcosub: there is no command {name!r}.{did_you_mean(name, commands)} '
            f'Commands: {", ".join(commands)}.',
            file=sys.stderr,
        )
        return 2
    try:
        check_stack()
    except ImportError as error:
        print(error, file=sys.stderr)
        return 2
    before = sys.argv
    sys.argv = [f'mmcosub {name}', *rest]  # the command's name in messages
    try:
        load(known[name]).main()
    finally:
        sys.argv = before
    return 0


def overview() -> str:
    """Return what ``mmcosub --help`` prints."""
    lines = [
        'usage: mmcosub COMMAND [arguments]',
        '',
        'Submodel co-training for MMSegmentation and MMPretrain.',
        'mmcosub COMMAND --help tells more.',
    ]
    for folder, title in _FOLDERS.items():
        inside = {
            name: _first_line(path)
            for name, path in scripts().items()
            if path.parent.name == (folder or 'tools')
        }
        if not folder:
            inside |= {name: str(own.__doc__) for name, own in _OWN.items()}
        lines += ['', f'{title}:', *(f'  {n:<22}{said}' for n, said in inside.items())]
    return '\n'.join(lines)


def _first_line(script: Path) -> str:
    docstring = ast.get_docstring(ast.parse(script.read_text())) or ''
    return docstring.partition('\n')[0]


def load(script: Path) -> ModuleType:
    """Import a script, which runs nothing yet."""
    spec = importlib.util.spec_from_file_location(f'mmcosub_{script.stem}', script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # to pickle its functions
    spec.loader.exec_module(module)
    return module


def _info(argv: list[str]) -> int:
    """Print installed packages, known models and problems."""
    from .info import describe

    ArgumentParser(prog='mmcosub info', description=_info.__doc__).parse_args(argv)
    text, works = describe()
    print(text)
    return 0 if works else 1


def _completion(argv: list[str]) -> int:
    """Print a completion script for a shell: bash or zsh."""
    parser = ArgumentParser(prog='mmcosub completion', description=_completion.__doc__)
    parser.add_argument('shell', choices=['bash', 'zsh'])
    shell = parser.parse_args(argv).shell
    try:
        import shtab
    except ImportError:
        print('mmcosub completion needs shtab: pip install shtab', file=sys.stderr)
        return 2
    from mmcosub.names import list_schemes

    whole = ArgumentParser(prog='mmcosub')
    commands = whole.add_subparsers()
    for name, script in scripts().items():
        make = getattr(load(script), 'make_parser', None)
        parents = [make()] if make else []
        for action in [a for each in parents for a in each._actions if a.nargs != 0]:
            if action.dest == 'co_train':
                action.choices = list(list_schemes())
            elif not action.choices:
                action.complete = shtab.FILE
        title = _first_line(script)
        commands.add_parser(name, parents=parents, add_help=not make, help=title)
    commands.add_parser('info', help=_info.__doc__)
    own: dict[str, Any] = dict(parents=[parser], add_help=False)
    commands.add_parser('completion', help=_completion.__doc__, **own)
    print(shtab.complete(whole, shell))
    return 0


_OWN = {'info': _info, 'completion': _completion}
