"""Check before the first step that a submodel of all branches equals the network.

It finds registered blocks that have changed upstream, DropPath modules that were not
recognised, and wrappers that replace a block's computation.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from .branches import Site
from .drop_path_modules import is_drop_path
from .drop_paths import are_drop_paths
from .execution import run_submodels
from .forward_override import ForwardOverride
from .isolation import evaluating, outputs_of, untouched, without_noise
from .plan import Plan

_DRAWS = 8  # passes that tell DropPath, with few outcomes, from other noise

_Run = Callable[[], Any]
_Mode = Callable[[nn.Module], AbstractContextManager]
_Read = Callable[[Any], Any]


def check_network(
    backbone: nn.Module,
    images: Tensor,
    sites: Sequence[Site],
    execution: str,
    read: _Read = lambda outputs: outputs,
) -> None:
    """Raise a ``ValueError`` if a submodel of all branches differs from the network.

    One image of the images (B, ...) runs without gradients through the network and
    through a submodel that keeps every branch, in evaluation and in training mode, in
    which the backbone is. In training mode, dropout and batch statistics are off, so
    that only DropPath could differ. ``read`` returns the outputs to compare. The error
    names the first module that differs.
    """
    if images.is_meta:
        return
    image, plan = images[:1], Plan(np.ones((len(sites), 1, 1)))
    plain = ForwardOverride(backbone, {}, nullcontext, None)

    def network(mode: _Mode) -> Any:
        with mode(backbone), plain.entered():
            return backbone(image)

    def submodel(mode: _Mode) -> Any:
        with mode(backbone):
            return run_submodels(backbone, image, plan, sites, execution, read=read)[0]

    with untouched(backbone, image):
        reference: _Mode = evaluating
        try:
            expected = read(network(reference))
        except Exception:  # LeViT prepares evaluation in `train`, not called here
            reference = without_noise
            try:
                outputs = network(reference)
            except Exception as error:  # any error of a backbone with a single image
                warnings.warn(
                    f'{type(backbone).__name__} is not checked before the first step, '
                    f'as it does not run on one image: {error}',
                    stacklevel=2,
                )
                return
            expected = read(outputs)
        for mode in dict.fromkeys((reference, without_noise)):
            got = [submodel(mode)]
            if mode is not reference and not _alike(got[0], expected):
                reference = mode  # some networks return more in training
                expected = read(network(mode))
                # Random outputs may be equal by chance once.
                got += [submodel(mode) for _ in range(_DRAWS)]
            if any(_differ(each, expected) for each in got):
                runs = partial(network, reference), partial(submodel, mode)
                _refuse(backbone, sites, *runs, in_training=mode is without_noise)


def is_exact(
    backbone: nn.Module,
    images: Tensor,
    sites: Sequence[Site],
    execution: str,
    read: _Read = lambda outputs: outputs,
) -> bool:
    """Return True if an execution computes what the plain one does; runs both.

    Sharing adds rows inside the network: a head that uses the number of input images
    (``x.view(images, -1)``) would mix them, perhaps without an error. Kept rows alone
    would change what is normalised over the batch. The backbone is in training mode,
    the images of shape (B, ...).
    """
    if images.is_meta or execution in ('plain', 'drop_path'):
        return True
    pair = torch.cat([images, images])[:2]
    # Rows split at the first, a middle and the last branch. They end as 6 for 8, so
    # that what mixes rows shows, and what divides their number by that of images.
    factors = np.ones((len(sites), 4, 2))
    middle = len(sites) // 2
    factors[0, 1, 0] = factors[middle, 2, 0] = factors[-1, 3, 0] = 0
    factors[middle, 1, 1] = 0
    run = partial(run_submodels, backbone, pair, Plan(factors), sites, read=read)
    with untouched(backbone, pair), without_noise(backbone):
        expected, _ = run('plain')
        try:
            got, _ = run(execution)
        except Exception:  # any error of a network at another number of rows
            return False
        if not _differ(got, expected):
            return True
        # Unknown noise, such as an unknown DropPath, differs each time.
        return execution == 'kept_rows' and _differ(run('plain')[0], expected)


def _refuse(
    backbone: nn.Module,
    sites: Sequence[Site],
    network: _Run,
    submodel: _Run,
    in_training: bool,
) -> None:
    """Raise for the first module that differs, unless it adds noise in training."""
    name = _first_difference(backbone, sites, network, submodel)
    module = backbone.get_submodule(name)
    if in_training and _outcomes(module, submodel) > _DRAWS // 2:
        return  # noise added to features, for instance
    raise ValueError(
        f'{name or "The backbone"} ({type(module).__module__}.'
        f'{type(module).__qualname__}) computes something else in '
        f'{"training" if in_training else "a submodel"}, with every branch kept, than '
        'the network by itself: its code is another version, something wraps it, or it '
        'has a DropPath that mmcosub does not recognise. Register the block as it is '
        '(mmcosub.submodels.register_block), or, if the code is another version, set '
        "scheme.execution='drop_path'. "
        'scheme.check_network=False trains without this check.'
    )


def _alike(got: Any, expected: Any) -> bool:
    """Return True if outputs have the same structure and shapes."""
    (a, spec), (b, expected_spec) = tree_flatten(got), tree_flatten(expected)
    shapes = [[getattr(x, 'shape', None) for x in found] for found in (a, b)]
    return spec == expected_spec and shapes[0] == shapes[1]


def _differ(got: Any, expected: Any, tolerance: float = 1e-4) -> bool:
    """Return True if outputs differ by more than rounding, relative to the largest."""
    if not _alike(got, expected):
        return True
    pairs = zip(tree_flatten(got)[0], tree_flatten(expected)[0], strict=True)
    tensors = [(a, b) for a, b in pairs if isinstance(a, Tensor) and a.numel()]
    return any(_far(a, b, tolerance) for a, b in tensors)


def _far(a: Tensor, b: Tensor, tolerance: float) -> bool:
    low = a.dtype in (torch.float16, torch.bfloat16)
    if low or torch.is_autocast_enabled(a.device.type):
        tolerance *= 500
    elif a.device.type != 'cpu':  # convolutions and products may round to TF32
        tolerance *= 10
    # False for values that are not finite, which cannot be compared.
    return bool((a - b).abs().max() > tolerance * b.abs().max())


def _first_difference(
    backbone: nn.Module, sites: Sequence[Site], first: _Run, second: _Run
) -> str:
    """Return the name of the first module whose output differs; '' for the backbone."""
    if are_drop_paths(sites):
        inside = {m for m in backbone.modules() if is_drop_path(m)}
    else:  # inside of known blocks, other modules may run
        inside = {m for site in sites for m in site.block.modules()}
        inside -= {site.block for site in sites}
    watched = {m: n for n, m in backbone.named_modules() if m not in inside}
    pairs = zip(_outputs(watched, first), _outputs(watched, second), strict=False)
    for (module, expected), (other, got) in pairs:
        if module is not other or _differ(got, expected, 1e-5):
            return watched[module]
    return ''


def _outcomes(module: nn.Module, run: _Run) -> int:
    """Return the number of different outputs of a module in some passes."""
    seen: list[Any] = []
    for _ in range(_DRAWS):
        output = _outputs([module], run)[0][1]
        if all(_differ(output, other) for other in seen):
            seen.append(output)
    return len(seen)


def _outputs(modules: Iterable[nn.Module], run: _Run) -> list[tuple[nn.Module, Any]]:
    with outputs_of(modules) as outputs:
        run()
    return outputs
