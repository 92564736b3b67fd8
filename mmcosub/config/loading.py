"""Config loading for the command-line tools."""

import gc
import os
import re
from argparse import Namespace
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, is_distributed
from mmengine.utils import import_modules_from_strings

from mmcosub.files import require_local

from .co_train import apply_scheme, set_default_rate, turn_off_scheme
from .flags import add_probability_metrics, set_length
from .settings import check_carry_over, check_launcher, check_scheme, check_types
from .unread import check_file, check_options, configs_of, walk


def load_config(args: Namespace) -> Config:
    """Load the config that the arguments name, with their changes to it.

    They are those of :func:`add_common_arguments`, ``config``, and what ``train`` adds.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    path = find_config(args.config)
    cfg = read_config(path)
    # With the scope that MMEngine adds to `mmcosub::` configs, every name would be
    # looked up in mmcosub's registries, which lack mmseg's.
    for _, part in [*walk(cfg._cfg_dict)]:
        if isinstance(part, dict) and part.get('_scope_') == 'mmcosub':
            del part['_scope_']
    if not isinstance(cfg.get('model'), dict):
        raise ValueError(f'{path} is not a whole config: it has no `model=dict(...)`.')
    check_types(cfg)
    check_file(path, cfg)
    # Before the options, which may set parts of the scheme.
    if getattr(args, 'co_train', None):
        apply_scheme(cfg, args.co_train)
    if getattr(args, 'unlabelled', None):
        cfg.unlabelled = dict(cfg.get('unlabelled') or {}, data_root=args.unlabelled)
    for key in ('max_iters', 'max_epochs'):
        if (length := getattr(args, key, None)) is not None:
            set_length(cfg, key, length)
    if getattr(args, 'probability_metrics', False):
        add_probability_metrics(cfg, 'val' if 'co_train' in args else 'test')
    if args.cfg_options:
        _merge(cfg, args.cfg_options)
    if cfg.get('scheme'):
        check_scheme(cfg.scheme)
    elif 'scheme' in cfg:
        turn_off_scheme(cfg)
    check_carry_over(cfg.get('carry_over'))
    check_launcher(args.launcher)
    if getattr(args, 'co_train', None):
        set_default_rate(cfg)
    cfg.launcher = args.launcher
    if args.fast:
        cfg.fast = True
    if args.trust_checkpoint:
        cfg.trust_checkpoint = True
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(key) or {}
        for name in ('persistent_workers', 'prefetch_factor'):
            if loader.get('num_workers') == 0:  # without workers, PyTorch refuses them
                loader.pop(name, None)
    if cfg.get('default_scope') == 'mmpretrain':
        _set_loader_defaults(cfg)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs', path.stem))
    require_local(cfg.work_dir)
    return cfg


def _merge(cfg: Config, options: dict) -> None:
    """Apply ``--cfg-options``."""
    check_options(cfg, options)
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError) as error:
            said = re.sub(r' [\[{].*[\]}]$', '', str(error.args[0]), flags=re.DOTALL)
            raise ValueError(f'--cfg-options {key}: {said.rstrip(".")}.') from error
    check_types(cfg)
    if any(key.startswith('custom_imports') for key in options):
        # MMEngine imports only the modules that the file names.
        import_modules_from_strings(**cfg.custom_imports)


def find_config(name: str) -> Path:
    """Find a config: a file, or one inside an installed package.

    Such as ``mmseg::upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py``.
    """
    package, separator, inner = name.partition('::')
    path = Path(name)
    if separator:
        folder = configs_of(package)
        if folder is None:
            raise ValueError(f'{name}: there is no package {package}.')
        path = folder / inner
    if path.is_file():
        return path
    there = sorted(each.name for each in path.parent.glob('*.py'))
    shown = ', '.join(there[:8]) + (', ...' if len(there) > 8 else '')
    raise ValueError(
        f'No config file {name}. '
        + (f'In that folder there are: {shown}.' if there else '')
        + ' Configs inside a package are named as in mmseg::folder/name.py.'
    )


def read_config(path: Path) -> Config:
    """Read a config file; an error names it."""
    try:
        read = Config.fromfile(path)
        for _ in walk(read._cfg_dict):  # imports what a pure-Python config names
            pass
        return read
    except RecursionError as error:
        raise ValueError(f'{path}: its _base_ files include each other.') from error
    except Exception as error:  # a config is a program and can raise anything
        said = f'{type(error).__name__}: {error}'
        if isinstance(error, SyntaxError):
            said = f'line {error.lineno}: {error.msg}'
            if path.read_bytes().startswith(b'\xef\xbb\xbf'):
                said = (
                    'it begins with a byte order mark (BOM): save it as UTF-8 without '
                    'BOM'
                )
        raise ValueError(f'{path} cannot be read as a config ({said}).') from error


def part_processes() -> None:
    """Leave the process group, all processes at once.

    A process that ends earlier can make others abort.
    """
    if is_distributed():
        barrier()
        gc.collect()
        torch.distributed.destroy_process_group()


def _set_loader_defaults(cfg: Config) -> None:
    """Set defaults that mmpretrain's own tools would add."""
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if loader := cfg.get(key):
            loader.setdefault('pin_memory', get_device() != 'cpu')
            loader.setdefault('persistent_workers', loader.get('num_workers', 0) > 0)
            loader.setdefault('collate_fn', dict(type='default_collate'))
