"""Is the stack underneath one that can work? Said once, with the mend."""

import contextlib
import importlib
import importlib.metadata
import io
import warnings
from collections.abc import Callable

from packaging.requirements import Requirement
from packaging.version import Version

# Distributions of the same four packages, by the family that publishes them. The
# `lite` build of mmcv is a second name in the first family.
_FAMILIES = {
    'OpenMMLab': ('mmengine', 'mmcv', 'mmcv-lite', 'mmsegmentation', 'mmpretrain'),
    'OneDL': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation',
              'onedl-mmpretrain'),
}  # fmt: skip
_PACKAGES = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'mmengine': ('mmengine', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
}
_TORCH = 'pip install torch torchvision'
_STACK = 'pip install ' + ' '.join(_FAMILIES['OneDL'])
_DATA_AND_MODELS = (
    'mmseg.datasets',
    'mmseg.models',
    'mmpretrain.datasets',
    'mmpretrain.models',
)


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_stack(version: Callable[[str], str | None] = installed_version) -> None:
    """Check, from what pip knows, that the packages underneath fit together.

    Imports nothing of them unless torch and torchvision look mismatched.

    Args:
        version (Callable): Version of a distribution, None if it is not installed.
            Defaults to asking the environment.

    Raises:
        ImportError: If something is missing, both families are installed, or
            torchvision does not fit torch. The message has the command to run.
    """
    families = {
        name: found
        for name, distributions in _FAMILIES.items()
        if (found := [d for d in distributions if version(d)])
    }
    if len(families) > 1:
        both = ' '.join(d for found in families.values() for d in found)
        raise ImportError(
            'mmcosub: packages of two families that overwrite each other are '
            f'installed: {both}. Keep one:\n  pip uninstall -y {both}\n  {_STACK}'
        )
    missing = [
        package
        for package, distributions in _PACKAGES.items()
        if not any(version(d) for d in distributions)
    ]
    if missing:
        torch_first = f'{_TORCH}\n  ' if {'torch', 'torchvision'} & {*missing} else ''
        raise ImportError(
            f'mmcosub needs {", ".join(missing)}, not installed here. Install with:\n'
            f'  {torch_first}{_STACK}'
        )
    if _looks_mismatched(version('torch') or '', version('torchvision') or ''):
        import_or_explain('torchvision')


def import_or_explain(module: str) -> None:
    """Import a module; say what to do if torchvision turns out not to fit torch.

    Args:
        module (str): Module to import.

    Raises:
        ImportError: If the compiled part of torchvision is for another torch.
    """
    try:
        importlib.import_module(module)
    except (RuntimeError, ImportError, OSError) as error:
        if 'torchvision' not in str(error) and module != 'torchvision':
            raise
        raise ImportError(
            f'mmcosub: torchvision {installed_version("torchvision")} does not fit '
            f'torch {installed_version("torch")} ({error}). Install both together:\n'
            f'  pip uninstall -y torch torchvision\n  {_TORCH}'
        ) from error


def import_stack_quietly() -> None:
    """Import the datasets and models of both packages without what they print.

    mmseg and mmpretrain print a line each about an optional dataset service, and mmcv
    warns about a compiled operator; both are as expected, and neither concerns us.
    """
    ignore_known_warnings()
    with contextlib.redirect_stdout(io.StringIO()):
        for module in _DATA_AND_MODELS:
            import_or_explain(module)


def ignore_known_warnings() -> None:
    """Ignore warnings of the stack that no user of it can act on."""
    for message in (
        'Fail to import ``MultiScaleDeformableAttention``',
        'Default ``avg_non_ignore`` is False',
        'The draw is False, it means that the hook for visualization',
        'The shape of value will convert from',
        'Unnecessary conv bias before batch/instance norm',
    ):
        warnings.filterwarnings('ignore', message=message)


def _looks_mismatched(torch: str, torchvision: str) -> bool:
    """Whether torch and torchvision seem to come from different places.

    A CPU build is ``2.x.y+cpu``, and fits only a torchvision of the same label. A
    hint only: builds from source carry labels of their own.
    """
    if Version(torch).local != Version(torchvision).local:
        return True
    try:
        wanted = importlib.metadata.requires('torchvision') or []
    except importlib.metadata.PackageNotFoundError:
        return False
    requirements = [Requirement(text) for text in wanted]
    return any(
        r.name == 'torch' and not r.specifier.contains(torch, prereleases=True)
        for r in requirements
    )
