"""DropPath modules as branches, for networks whose blocks are not known.

All views run as one batch, as in cosub's published code, so no computation is saved. A
module that is called several times in one forward is one branch per call.
"""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor, nn

from .branches import Branch, Site, UnknownBlockError, find_branches
from .drop_path_modules import is_drop_path
from .forward_override import ForwardOverride
from .isolation import evaluating, outputs_of


@dataclass(frozen=True)
class DropPathSite(Site):
    """One call of a DropPath module."""

    module: nn.Module

    @property
    def path(self) -> str:
        """Name of the module in the backbone."""
        return f'{self.name}.{self.branch.drop_path}'.removeprefix('.')

    @property
    def drop_path(self) -> nn.Module:
        """DropPath module of this call."""
        return self.module


def are_drop_paths(sites: Sequence[Site]) -> bool:
    """Return True if branches are DropPath modules in blocks that are not known."""
    return bool(sites) and isinstance(sites[0], DropPathSite)


def find_sites(backbone: nn.Module) -> list[Site]:
    """Return the branches of known blocks, or the DropPath modules, of a backbone.

    Raises a ``ValueError`` if it has neither.
    """
    try:
        return find_branches(backbone)
    except UnknownBlockError as error:
        sites = find_drop_paths(backbone)
        if not sites:
            raise ValueError(
                f'{error} It has no DropPath modules either, with which any network '
                'can be co-trained: set model.backbone.drop_path_rate above 0 if it '
                'takes one.'
            ) from None
        return list(sites)


def find_drop_paths(backbone: nn.Module) -> list[DropPathSite]:
    """Return the DropPath modules of a backbone in the order of ``modules()``."""
    modules = [(n, m) for n, m in backbone.named_modules() if is_drop_path(m)]
    return _sites(backbone, modules)


def called_drop_paths(backbone: nn.Module, images: Tensor) -> list[DropPathSite]:
    """Return the DropPath modules in the order of their calls, one entry per call.

    Runs the first of the images (B, ...) in evaluation mode.
    """
    names = {m: n for n, m in backbone.named_modules() if is_drop_path(m)}
    again = ForwardOverride(backbone, {}, nullcontext, None)
    with outputs_of(names) as outputs, evaluating(backbone), again.entered():
        backbone(images[:1])
    if not outputs:
        raise ValueError(
            f'{type(backbone).__name__} has DropPath modules and calls none, as in a '
            'network without shortcuts, so it has no submodels. Train it without a '
            'scheme.'
        )
    return _sites(backbone, [(names[module], module) for module, _ in outputs])


def always_kept(backbone: nn.Module, sites: Sequence[Site]) -> list[str]:
    """Return names of blocks without DropPath where others of their class have it.

    timm omits DropPath at rate 0, as in the first block under linear decay.
    """
    dropped = {site.block for site in sites}
    classes = {type(block) for block in dropped} - {nn.ModuleList, nn.Sequential}
    modules = backbone.named_modules()
    return [n for n, m in modules if type(m) in classes and m not in dropped]


def _sites(
    backbone: nn.Module, modules: Sequence[tuple[str, nn.Module]]
) -> list[DropPathSite]:
    depths: dict[str, int] = {}
    sites = []
    for path, module in modules:
        name = _block_of(path)
        depth = depths.setdefault(name, len(depths))
        branch = Branch(_unknown, path.removeprefix(f'{name}.'))
        block = backbone.get_submodule(name)
        sites.append(DropPathSite(name, block, branch, depth, module))
    return sites


def _block_of(name: str) -> str:
    """Return the nearest numbered parent of a module, or its parent.

    ``stages.0.blocks.3`` for ``stages.0.blocks.3.attn.drop``.
    """
    parent = name.rpartition('.')[0]
    numbered = re.match(r'(.*\.)?\d+(?=\.|$)', parent)
    return numbered.group() if numbered else parent


def _unknown(block: nn.Module, x: Tensor) -> Tensor:
    raise RuntimeError('An unknown block has no residual function.')
