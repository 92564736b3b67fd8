"""Forward of a backbone by a plan: its known blocks, or its DropPath modules."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .branches import Site, class_names, list_modules
from .drop_paths import DropPathSite
from .forward_override import ForwardOverride

_Context = Callable[[], AbstractContextManager]


@dataclass(frozen=True)
class BranchCall:
    """One branch of a block, and the other arguments of the block's ``forward``."""

    site: Site
    number: int
    """Its index among all branches; those of its block are ``first`` to ``last``."""
    first: int
    last: int
    args: tuple
    kwargs: dict

    def residual(self, x: Tensor) -> Tensor:
        """Return the branch's function of some rows."""
        return self.site.branch.residual(self.site.block, x, *self.args, **self.kwargs)

    def shortcut(self, x: Tensor) -> Tensor:
        """Return the term that the branch is added to."""
        shortcut = self.site.branch.shortcut
        if shortcut is None:
            return x
        return shortcut(self.site.block, x, *self.args, **self.kwargs)

    def after(self, x: Tensor) -> Any:
        """Apply the block's function of the sum, such as an activation."""
        after = self.site.branch.after
        if after is None:
            return x
        return after(self.site.block, x, *self.args, **self.kwargs)

    @property
    def sources(self) -> list[Tensor]:
        """Parameters and arguments, other than rows, that may get a gradient."""
        given = (*self.args, *self.kwargs.values())
        learned = [t for t in given if isinstance(t, Tensor) and t.requires_grad]
        return [*self.site.block.parameters(), *learned]


RunBranch = Callable[[Tensor, BranchCall], Any]
"""Function of a block's rows so far, (R, ...), and a branch: the sum after it."""


class SubmodelRun(ForwardOverride):
    """One forward of a backbone whose known blocks run by a plan.

    ``branch`` runs each of them; if ``ordered``, in the order of ``sites`` alone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        sites: Sequence[Site],
        branch: RunBranch,
        perturbed: _Context,
        ordered: bool,
    ) -> None:
        self.sites = sites
        self.branch = branch
        self.ordered = ordered
        self.done: set[int] = set()
        numbers: dict[nn.Module, list[int]] = {}
        for i, site in enumerate(sites):
            numbers.setdefault(site.block, []).append(i)
        forwards = {b: partial(self._run_block, found) for b, found in numbers.items()}
        super().__init__(backbone, forwards, perturbed, progress=0, blocks=numbers)

    def check_complete(self) -> None:
        """Raise if a block was skipped, as where a compiled copy of it runs."""
        skipped = {s.name for i, s in enumerate(self.sites) if i not in self.done}
        if skipped:
            name = next(s.name for s in self.sites if s.name in skipped)
            raise ValueError(
                f'{len(skipped)} blocks, the first of them {name!r}, do not run, so '
                'they cannot be co-trained. Keep networks that the forward does not '
                'use outside of the model, and leave out what skips blocks or replaces '
                'parts, such as layer drop or efficient_conv_bn_eval of MMEngine.'
            )

    def _run_block(
        self, numbers: list[int], x: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        for i in numbers:
            if self.ordered and i != self.progress:
                expected = self.sites[self.progress % len(self.sites)].name
                raise ValueError(
                    f'{self.sites[i].name} runs where {expected} was expected: blocks '
                    'run in another order than they are listed. Set '
                    "scheme.execution='kept_rows'."
                )
            self.progress += 1
            self.done.add(i)
            first, last = numbers[0], numbers[-1]
            x = self.branch(x, BranchCall(self.sites[i], i, first, last, args, kwargs))
        return x


# Classes in which consecutive rows are parts of one image. Upstream draws per row.
_OF_PARTS = {
    'mmpretrain.models.backbones.tnt.TnTLayer',  # patches
    'timm.models.tnt.Block',
    'timm.models.mobilevit.MobileVitBlock',  # positions in a patch
}


class DropPathRun(ForwardOverride):
    """Forward of all views as one batch, with the plan's factors as DropPath.

    ``factors`` has shape (L, V * B).
    """

    def __init__(
        self,
        backbone: nn.Module,
        sites: Sequence[DropPathSite],
        factors: Tensor,
        perturbed: _Context,
    ) -> None:
        self.factors = factors
        self.site = {site.module: site for site in sites}
        self.calls: dict[nn.Module, list[int]] = {}
        for i, site in enumerate(sites):
            self.calls.setdefault(site.module, []).append(i)
        modules = list_modules(backbone)
        holders = [m for m in modules if class_names(m.__class__)[0] in _OF_PARTS]
        self.of_parts = {inner for holder in holders for inner in holder.modules()}
        forwards: dict[nn.Module, Callable] = {
            module: partial(self._drop, module) for module in self.calls
        }
        blocks = {site.block for site in sites}
        super().__init__(backbone, forwards, perturbed, Counter(), blocks)

    def _drop(self, module: Any, x: Tensor) -> Tensor:
        name = self.site[module].path
        calls, done = self.calls[module], self.progress[module]
        self.progress[module] += 1
        rows = self.factors.shape[1]
        parts = len(x) // rows if module in self.of_parts else 1
        if done >= len(calls) or len(x) != rows * parts:
            found = f'{len(x)} rows' if done < len(calls) else f'call {done + 1}'
            raise ValueError(
                f'The drop path {name!r} gets {found}, where {rows} rows (one for each '
                f'view and image) and {len(calls)} calls are expected, so its '
                'submodels cannot be told apart. Register its block '
                '(mmcosub.submodels.register_block).'
            )
        factor = self.factors[calls[done]]
        if getattr(module, 'scale_by_keep', True) is False:  # timm's
            factor = factor.sign()
        return scaled(x, factor.repeat_interleave(parts))

    def check_complete(self) -> None:
        """Raise if a DropPath module ran too rarely, as where layers are skipped."""
        for module, calls in self.calls.items():
            if self.progress[module] < len(calls):
                raise ValueError(
                    f'The drop path {self.site[module].path!r} ran '
                    f'{self.progress[module]} times in training and {len(calls)} in '
                    'evaluation. A network that leaves parts out in training by itself '
                    'cannot be co-trained so; turn that off, or register its blocks '
                    '(mmcosub.submodels.register_block).'
                )


def scaled(y: Tensor, factor: float | Tensor) -> Tensor:
    """Multiply rows by their factors, which stay in float32 at least."""
    if isinstance(factor, Tensor):
        factor = factor.to(torch.promote_types(y.dtype, torch.float32))
        factor = factor.reshape(-1, *[1] * (y.ndim - 1))
    return (y * factor).to(y.dtype)
