"""Arguments that the command-line tools share."""

from argparse import ArgumentParser, Namespace

from .errors import OptionsAction, add_debug_argument


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that training and testing share.

    Args:
        parser (ArgumentParser): Parser to add them to.
    """
    add_work_dir_argument(parser, 'logs and checkpoints')
    add_config_arguments(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run (default: none)',
    )
    parser.add_argument(
        '--fast',
        action='store_true',
        help='compute heads, their loss and attention the faster way, with the same '
        'weights and outputs (docs/fast.md)',
    )
    # torch.distributed.launch passes it with a hyphen, older ones with an underscore.
    parser.add_argument(
        '--local-rank',
        '--local_rank',
        type=int,
        default=0,
        help='set by the launcher, not by hand',
    )


def add_work_dir_argument(parser: ArgumentParser, what: str) -> None:
    """Add the argument on the work directory.

    Args:
        parser (ArgumentParser): Parser to add it to.
        what (str): What is written there, for the help.
    """
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help=f"folder for {what} (default: the config's, or else "
        './work_dirs/CONFIG_NAME)',
    )


def add_shape_argument(parser: ArgumentParser) -> None:
    """Add the argument on the size of made images.

    Args:
        parser (ArgumentParser): Parser to add it to.
    """
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar='N',
        help='height and width of images, or one number for both (default: 512 for '
        'segmentors, 224 for classifiers)',
    )


def require_positive(args: Namespace, *names: str) -> None:
    """Refuse arguments below 1.

    Args:
        args (Namespace): The arguments.
        *names (str): Which of them.

    Raises:
        ValueError: If one is, naming its flag.
    """
    for name in names:
        if getattr(args, name) < 1:
            raise ValueError(f'--{name.replace("_", "-")} must be 1 or more.')


def add_config_arguments(parser: ArgumentParser) -> None:
    """Add the arguments on the config and on what is let in.

    :func:`.cli.load_config` needs no more, in one process and without faster parts.

    Args:
        parser (ArgumentParser): Parser to add them to.
    """
    parser.set_defaults(work_dir=None, launcher='none', fast=False, local_rank=0)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_dataloader.batch_size=4 '
        'optim_wrapper.optimizer.lr=1e-4 model.backbone.out_indices="(0,1,2,3)"; '
        'applied last, without spaces around = and ,',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='open checkpoints that bring Python objects, which could run any code',
    )
    add_debug_argument(parser)
