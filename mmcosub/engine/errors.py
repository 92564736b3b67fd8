"""What a tool says when something is wrong: one line for what the user can mend."""

import argparse
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from mmengine.config import DictAction

STATUS = 2
"""Exit status when the user can mend it. Python's own for all else is 1."""

# Where a run is under way; what fails earlier fails because of the config.
_UNDER_WAY = ('run_iter', 'train_step', 'val_step', 'test_step')
_ALWAYS_THE_USERS = (ValueError, OSError, FloatingPointError, torch.OutOfMemoryError)
_THE_CONFIGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave.

        Args:
            message (str): What is wrong.
        """
        said = ' '.join(message.split())
        self.exit(STATUS, f'{self.prog}: error: {said} (--help lists the arguments)\n')


class OptionsAction(DictAction):
    """MMEngine's ``KEY=VALUE`` arguments, with an error for what is none."""

    def __call__(self, parser: Any, namespace: Any, values: Any, *args: Any) -> None:
        """Parse the arguments.

        Args:
            parser (ArgumentParser): The parser.
            namespace (Namespace): What gets them.
            values (list[str]): The arguments.
            *args: The name of the option.
        """
        for text in values:
            key, equals, value = text.partition('=')
            well_formed = equals and all(key.split('.')) and key.strip() == key
            try:
                if not well_formed:
                    raise ValueError(text)
                self._parse_iterable(value)
            except (AssertionError, ValueError, SyntaxError, IndexError) as error:
                parser.error(
                    f'--cfg-options: {text!r} is no KEY=VALUE, such as model.type=A or '
                    f'a="[1,2]", without spaces around = and ,'
                    + (f' ({error})' if well_formed else '')
                )
        super().__call__(parser, namespace, values, *args)


@contextmanager
def explained_errors(prog: str, debug: bool = False) -> Iterator[None]:
    """End the process with one line and status 2 at an error that a user can mend.

    That is every error before the first iteration, when the config is turned into
    objects, and from then on those that say so by their type: ``ValueError``,
    ``OSError`` (a full disk), a loss that is not finite, too little memory on the
    device. All others are faults of programs, and show where.

    Args:
        prog (str): Name of the tool.
        debug (bool): Whether to show where every error is from. Defaults to False.
    """
    try:
        yield
    except Exception as error:
        if debug or not _is_the_users(error):
            raise
        rank = os.environ.get('RANK', '0')
        where = '' if rank == '0' else f' (rank {rank})'
        print(f'{prog}: error{where}: {in_one_line(error)}', file=sys.stderr)
        sys.stderr.flush()
        sys.exit(STATUS)


def in_one_line(error: BaseException) -> str:
    """What an error says, in one line, that of a data loader's worker included.

    Args:
        error (BaseException): The error.
    """
    said, kind = str(error), type(error).__name__
    if 'Original Traceback' in said:  # torch puts a worker's in the message
        said = re.split(rf'\n(?:[\w.]+\.)?{kind}: ', said)[-1]
    if isinstance(error, OSError) and error.strerror and error.filename:
        said = f'{error.filename}: {error.strerror}'
        if error.errno == 28:
            said += '. Make room, and go on with --resume.'
    if isinstance(error, KeyError) and len(error.args) == 1:
        said = str(error.args[0])
    said = ' '.join(said.split())
    if isinstance(error, ValueError | OSError | FloatingPointError) and said:
        return said
    return f'{kind}: {said or "no reason given"} (--debug shows where)'


def _is_the_users(error: Exception) -> bool:
    if isinstance(error, _ALWAYS_THE_USERS):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    under_way = any(frame.name in _UNDER_WAY for frame in frames)
    return isinstance(error, _THE_CONFIGS) and not under_way
