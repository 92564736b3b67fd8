"""Shared command-line arguments; imports neither torch nor MMEngine."""

import re
from argparse import Action, ArgumentParser, Namespace
from typing import Any, NoReturn

from mmcosub.names import did_you_mean

STATUS = 2
"""Exit status for user errors; Python's is 1 for all others."""


class OneLineParser(ArgumentParser):
    """Argument parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit."""
        said = ' '.join(message.split())
        if said.startswith('unrecognized'):
            for word in re.findall(r'--[\w-]+', said):
                hint = did_you_mean(word, self._option_string_actions)
                said += f'.{hint}' if hint else ''
        self.exit(STATUS, f'{self.prog}: error: {said} (--help lists the arguments)\n')


class OptionsAction(Action):
    """MMEngine's ``KEY=VALUE`` arguments, with an error for malformed ones."""

    def __call__(self, parser: Any, namespace: Any, values: Any, *args: Any) -> None:
        """Parse the arguments."""
        from mmengine.config import DictAction  # here, so that --help is fast

        action = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        for text in values:
            key, equals, value = text.partition('=')
            well_formed = equals and all(key.split('.')) and key.strip() == key
            of_dict = (
                f'--cfg-options: {text!r} has brackets of a dict: give its keys '
                'each, such as a.b=1 a.c=2, or all of it in the config'
            )
            if well_formed and re.search(r'[\[(,] *{', value):
                parser.error(of_dict)  # would become pieces of text
            try:
                if not well_formed:
                    raise ValueError(text)
                action._parse_iterable(value)
            except RecursionError:  # of MMEngine's parser, endless
                parser.error(of_dict)
            except (AssertionError, ValueError, SyntaxError, IndexError) as error:
                parser.error(
                    f'--cfg-options: {text!r} is not KEY=VALUE, such as model.type=A '
                    f'or a="[1,2]", without spaces around = and ,'
                    + (f' ({error})' if well_formed else '')
                )
        action(parser, namespace, values, *args)


_SHARED: dict[str, Any] = {
    'config': dict(help='config file, or PACKAGE::FILE for one inside a package'),
    'checkpoint': dict(help='checkpoint file or URL'),
    '--co-train': dict(
        metavar='NAME_OR_FILE', help='co-train with this scheme, as in mmcosub train'
    ),
    '--probability-metrics': dict(
        action='store_true',
        help='also measure NLL, calibration error (ECE) and Brier score',
    ),
    '--device': dict(help='such as cuda:0 (default: a GPU if there is one)'),
    '--shape': dict(
        type=int,
        nargs='+',
        metavar='N',
        help='height and width of images, or one number for both (default: as in the '
        'config, or else 512 for segmentors, 224 for classifiers)',
    ),
    '--cfg-options': dict(
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_dataloader.batch_size=4 '
        'optim_wrapper.optimizer.lr=1e-4 model.backbone.out_indices="(0,1,2,3)"; '
        'applied last, without spaces around = and ,',
    ),
    '--trust-checkpoint': dict(
        action='store_true',
        help='allow checkpoints with Python objects, which can execute code',
    ),
    '--debug': dict(action='store_true', help='show tracebacks of all errors'),
    '--launcher': dict(
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run (default: none)',
    ),
    '--fast': dict(
        action='store_true',
        help='compute heads, their loss and attention the faster way, with the same '
        'weights and outputs',
    ),
}


def add_shared_arguments(parser: ArgumentParser, *names: str) -> None:
    """Add arguments that several tools have, of those of ``_SHARED``."""
    for name in names:
        parser.add_argument(name, **_SHARED[name])


def add_work_dir_argument(parser: ArgumentParser, what: str) -> None:
    """Add ``--work-dir``; ``what`` is its content, for the help."""
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help=f"folder for {what} (default: the config's, or else "
        './work_dirs/CONFIG_NAME)',
    )


def add_config_arguments(parser: ArgumentParser) -> None:
    """Add what suffices for ``load_config`` in one process."""
    parser.set_defaults(work_dir=None, launcher='none', fast=False, local_rank=0)
    add_shared_arguments(parser, '--cfg-options', '--trust-checkpoint', '--debug')


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    add_work_dir_argument(parser, 'logs and checkpoints')
    add_config_arguments(parser)
    add_shared_arguments(parser, '--launcher', '--fast')
    # torch.distributed.launch uses a hyphen, older versions an underscore.
    names = ('--local-rank', '--local_rank')
    said = 'set by the launcher, not by hand'
    parser.add_argument(*names, type=int, default=0, help=said)


def require_positive(args: Namespace, *names: str) -> None:
    """Raise for named arguments below 1."""
    for name in names:
        if getattr(args, name) < 1:
            raise ValueError(f'--{name.replace("_", "-")} must be 1 or more.')
