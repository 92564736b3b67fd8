"""Completion of the command ``mmcosub`` in a shell, as a script without Python.

It is made once, so that pressing tab does not have to wait for torch.
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from types import ModuleType

SHELLS = ('bash', 'zsh')

_SCRIPT = """\
# Completion of mmcosub. For good: mmcosub completion {shell} >> ~/.{shell}rc
{preamble}_mmcosub() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}} $before" in
{values}
    esac
    case "${{COMP_WORDS[1]}} $word" in
{flags}
    esac
}}
complete -o default -F _mmcosub mmcosub"""
_CASE = """\
        "{command} "{pattern}) COMPREPLY=($(compgen -W "{words}" -- "$word")) ;;"""


def completion(shell: str, tools: Mapping[str, ModuleType], own: Sequence[str]) -> str:
    """Script that completes commands, flags, and values of flags that are few.

    Anything else is completed as a file name.

    Args:
        shell (str): One of :data:`SHELLS`.
        tools (Mapping[str, Module]): Script by command, imported.
        own (Sequence[str]): Commands that are no scripts.
    """
    values, flags = [], []
    for command, tool in tools.items():
        if not hasattr(tool, 'make_parser'):
            continue
        parser = tool.make_parser()
        words = sorted(parser._option_string_actions)
        flags.append(_CASE.format(command=command, pattern='-*', words=' '.join(words)))
        for flag, choices in _choices(parser).items():
            words = [str(choice) for choice in choices]
            values.append(
                _CASE.format(command=command, pattern=flag, words=' '.join(words))
            )
    shells = dict(command='completion', pattern='completion', words=' '.join(SHELLS))
    values.append(_CASE.format(**shells))
    zsh = 'autoload -U +X bashcompinit && bashcompinit\n'
    return _SCRIPT.format(
        shell=shell,
        preamble=zsh if shell == 'zsh' else '',
        commands=' '.join([*tools, *own]),
        values='\n'.join(values),
        flags='\n'.join(flags),
    )


def _choices(parser: ArgumentParser) -> dict[str, Sequence]:
    from mmcosub.engine.co_train import list_schemes

    choices: dict[str, Sequence] = {}
    for flag, action in parser._option_string_actions.items():
        if flag == '--co-train':
            choices[flag] = list(list_schemes())
        elif action.choices:
            choices[flag] = list(action.choices)
    return choices
