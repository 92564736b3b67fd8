"""From a command's name to the script that does it."""

import ast
import difflib
import importlib.util
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import mmcosub
from mmcosub.names import packaged
from mmcosub.stack import check_stack, ignore_known_warnings

# Scripts whose command is not named as they are.
_SHORT = {'browse_dataset': 'browse'}
_FOLDERS = {
    '': 'Commands',
    'analysis_tools': 'To look closer',
    'model_converters': 'Weights',
    'dataset_converters': 'Data',
    'misc': 'Configs',
}
_OWN = {
    'info': 'Print what is installed, known and wrong.',
    'completion': 'Print what completes this command in a shell: bash or zsh.',
}


def tools_folder() -> Path:
    """Folder of the scripts, which come with the package."""
    return packaged('tools')


def scripts() -> dict[str, Path]:
    """Script by command."""
    paths = sorted(tools_folder().glob('*.py')) + sorted(tools_folder().glob('*/*.py'))
    return {_SHORT.get(p.stem, p.stem).replace('_', '-'): p for p in paths}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv (Sequence[str], optional): The command and its arguments. Defaults to
            those of the process.

    Returns:
        int: Exit status.
    """
    ignore_known_warnings()
    argv = list(sys.argv[1:] if argv is None else argv)
    name, rest = (argv[0], argv[1:]) if argv else ('--help', [])
    if name in ('-h', '--help'):
        print(overview())
        return 0
    if name == '--version':
        print(mmcosub.__version__)
        return 0
    own: dict[str, Callable[[list[str]], int]] = {
        'info': _info,
        'completion': _completion,
    }
    if name in own:
        return own[name](rest)
    known = scripts()
    if name not in known:
        close = difflib.get_close_matches(name, [*known, *own], n=1)
        hint = f' Did you mean {close[0]}?' if close else ''
        print(
            f'mmcosub: there is no command {name!r}.{hint} '
            f'Commands: {", ".join([*known, *own])}.',
            file=sys.stderr,
        )
        return 2
    try:
        check_stack()
    except ImportError as error:
        print(error, file=sys.stderr)
        return 2
    _run(known[name], f'mmcosub {name}', rest)
    return 0


def overview() -> str:
    """What ``mmcosub --help`` prints."""
    lines = [
        'usage: mmcosub COMMAND [arguments]',
        '',
        'Submodel co-training for MMSegmentation and MMPretrain.',
        'mmcosub COMMAND --help tells more.',
    ]
    for folder, title in _FOLDERS.items():
        lines += ['', f'{title}:']
        for name, path in scripts().items():
            inside = path.parent.name if path.parent != tools_folder() else ''
            if inside == folder:
                lines.append(f'  {name:<22}{_first_line(path)}')
        if not folder:
            lines += [f'  {name:<22}{said}' for name, said in _OWN.items()]
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
    sys.modules[spec.name] = module  # as what pickles its functions expects
    spec.loader.exec_module(module)
    return module


def _run(script: Path, name: str, argv: list[str]) -> None:
    """Run a script, with the command's name in its messages."""
    before = sys.argv
    sys.argv = [name, *argv]
    try:
        load(script).main()
    finally:
        sys.argv = before


def _info(argv: list[str]) -> int:
    from .info import describe

    ArgumentParser(prog='mmcosub info', description=_OWN['info']).parse_args(argv)
    text, works = describe()
    print(text)
    return 0 if works else 1


def _completion(argv: list[str]) -> int:
    parser = ArgumentParser(prog='mmcosub completion', description=_OWN['completion'])
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
    commands.add_parser('info', help=_OWN['info'])
    own: dict[str, Any] = dict(parents=[parser], add_help=False)
    commands.add_parser('completion', help=_OWN['completion'], **own)
    print(shtab.complete(whole, shell))
    return 0
