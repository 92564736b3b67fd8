"""Compilation of the parts of a co-trained model with ``torch.compile``."""

from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from mmcosub.fast.heads import FastHead
from mmcosub.submodels import are_drop_paths, compiled_sites

from .co_training import CoTraining
from .segmentors import list_heads

_OPTIONS = ('backend', 'mode', 'options')


def compile_parts(model: CoTraining, options: bool | dict[str, Any]) -> None:
    """Compile the residual functions and the decode heads of a model, in place.

    They take most of the time of a step and accept any number of rows. MMEngine's
    ``compile`` compiles the whole step, which would be repeated for every plan. The
    options are the config's ``compile``: True, or ``backend``, ``mode`` and ``options``
    of ``torch.compile``. Raises a ``ValueError`` if there are others.
    """
    options = {} if options is True else options
    if not isinstance(options, dict) or set(options) - set(_OPTIONS):
        raise ValueError(
            f'compile={options!r}: with a scheme it is True or a dict with some of '
            f'{list(_OPTIONS)}. The scheme decides which parts are compiled, for which '
            'shapes.'
        )
    options = dict(options)
    found = 'no residual function, as not all blocks are known'
    if not are_drop_paths(model.sites):
        model.sites = compiled_sites(model.sites, **options)
        found = f'the residual functions of {len(model.sites)} branches'
    compiled, left = [], []
    for head in list_heads(model) if hasattr(model, 'decode_head') else ():
        name = f'{head.name} ({type(head.module).__name__})'
        own = 'forward' in vars(head.module)  # such as activation checkpointing
        if own or isinstance(head.module, FastHead) or head.classifies_masks:
            left.append(name)
            continue
        head.module.forward = CompiledForward(head.module, options)
        compiled.append(name)
    print_log(
        f'Compiled by torch.compile: {found}; heads: {compiled or "none"}.'
        + f' Left as they are: {left}.' * bool(left)
        + ' The first iterations take minutes.',
        'current',
    )


class CompiledForward:
    """Forward of a module, compiled in training and uncompiled in evaluation.

    In evaluation, maps have many sizes.
    """

    def __init__(self, module: nn.Module, options: dict[str, Any]) -> None:
        self.module = module
        self.options = options
        self._compiled = torch.compile(type(module).forward, **options)

    def __reduce__(self) -> tuple:
        """Compile again in a copy, for the copied module."""
        return type(self), (self.module, self.options)

    def __call__(self, *args: Any) -> Any:
        """Run the module's forward, for tensors of any number of rows."""
        if not self.module.training:
            return type(self.module).forward(self.module, *args)
        return self._compiled(self.module, *tree_map_only(Tensor, _any_rows, args))


def _any_rows(x: Tensor) -> Tensor:
    """Mark a tensor's first dimension as dynamic."""
    # Imported here, as it takes a second that few runs need.
    from torch._dynamo import maybe_mark_dynamic

    maybe_mark_dynamic(x, 0)
    return x
