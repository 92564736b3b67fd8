"""Choice of the fastest execution that computes exactly what the plain one does."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .branches import Site, has_fixed_batch
from .drop_path_modules import dropout_rate_name
from .drop_paths import DropPathSite

EXECUTIONS = ('plain', 'kept_rows', 'shared_prefix', 'drop_path')
_OF_KNOWN_BLOCKS = EXECUTIONS[:3]

# Rates that are plain numbers: attention modules pass them to the fused kernel, timm's
# networks to `F.dropout`.
_RATES = ('attn_drop', 'dropout', 'drop_rate')


def fastest_exact(backbone: nn.Module, sites: Sequence[Site] = ()) -> str:
    """Return the fastest execution that computes what the plain one does.

    BatchNorm in training mode makes rows depend on one another, which needs 'plain'
    inside of blocks. Dropout would give views that share a row the same noise, and
    some networks need a constant number of rows; both rule out 'shared_prefix'.

    Args:
        backbone (nn.Module): The backbone, in the mode in which it will run.
        sites (Sequence[Site]): Its branches. Defaults to those of known blocks.
    """
    if are_drop_paths(sites):
        return 'drop_path'
    fastest = reversed(_OF_KNOWN_BLOCKS)
    return next(e for e in fastest if inexact(backbone, e, sites) is None)


class FastestExact:
    """Cached :func:`fastest_exact`, computed again when the network has changed.

    Every call compares the modules, their modes and their dropout rates, which takes a
    fraction of the time. Calls of ``train`` would not do as a signal: MMEngine calls it
    in every iteration, and hooks freeze norms or change rates without it.
    """

    def __init__(self) -> None:
        self._modules: list[nn.Module] = []
        self._facts: list[tuple] = []
        self._found = ''

    def __call__(self, backbone: nn.Module, sites: Sequence[Site] = ()) -> str:
        if are_drop_paths(sites):
            return 'drop_path'
        known = bool(self._modules) and self._modules[0] is backbone
        if not known or self._facts != [_facts(m) for m in self._modules]:
            self._modules = list(backbone.modules())
            self._facts = [_facts(m) for m in self._modules]
            self._found = fastest_exact(backbone, sites)
        return self._found


def _facts(module: nn.Module) -> tuple:
    """State of a module that decides which executions are exact."""
    own = vars(module)
    rates = own.get(dropout_rate_name(module)), *map(own.get, _RATES)
    return own['training'], rates, list(own['_modules'].values())


def are_drop_paths(sites: Sequence[Site]) -> bool:
    """Return True if branches are DropPath modules in blocks that are not known."""
    return bool(sites) and isinstance(sites[0], DropPathSite)


def inexact(
    backbone: nn.Module, execution: str, sites: Sequence[Site] = ()
) -> str | None:
    """Return the reason why an execution differs from the plain one, or None.

    Args:
        backbone (nn.Module): The backbone, in the mode in which it will run.
        execution (str): One of ``EXECUTIONS``.
        sites (Sequence[Site]): Its branches: with 'kept_rows', all rows run outside of
            their blocks. Defaults to none, where any module may see fewer rows.
    """
    if execution in ('plain', 'drop_path'):
        return None
    modules = list(backbone.modules())
    split = {m for site in sites for m in site.block.modules()}
    seeing = split if split and execution == 'kept_rows' else modules
    if any(isinstance(m, _BatchNorm) and m.training for m in seeing):
        return 'BatchNorm in training mode sees the rows of a branch'
    if any(m.training and _positions_differ(m) for m in modules):
        return 'each row has positions of its own, as patches of it are dropped'
    if execution == 'kept_rows':
        return None
    if any(m.training and _has_dropout(m) for m in modules):
        return 'dropout would be the same in views that share a row'
    if has_fixed_batch(backbone):
        return 'some module relies on as many rows coming out as went in'
    return None


def _has_dropout(module: nn.Module) -> bool:
    names = dropout_rate_name(module), *_RATES
    rates = (getattr(module, name, 0.0) for name in names if name)
    return any(isinstance(rate, float) and rate > 0 for rate in rates)


def _positions_differ(module: Any) -> bool:
    """Return True if each row has its own positions, as in EVA under patch dropout."""
    return type(module).__name__ == 'PatchDropoutWithIndices' and module.prob > 0
