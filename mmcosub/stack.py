"""Checks that the installed packages fit together, with commands to fix them."""

import contextlib
import importlib
import importlib.metadata
import io
import warnings
from collections.abc import Callable
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

Versions = Callable[[str], str | None]
Distributions = dict[str, tuple[str, ...]]

# Two families of distributions publish the same four packages; mmcv also has a `lite`
# build.
_FAMILIES: dict[str, Distributions] = {
    'OneDL': {
        'mmengine': ('onedl-mmengine',),
        'mmcv': ('onedl-mmcv',),
        'mmseg': ('onedl-mmsegmentation',),
        'mmpretrain': ('onedl-mmpretrain',),
    },
    'OpenMMLab': {
        'mmengine': ('mmengine',),
        'mmcv': ('mmcv', 'mmcv-lite'),
        'mmseg': ('mmsegmentation',),
        'mmpretrain': ('mmpretrain',),
    },
}
MAINTAINED = 'OneDL'
"""The family to install by default."""
# Oldest versions that the tests pass with.
OLDEST = {
    'torch': '2.6',
    'torchvision': '0.21',
    'mmengine': '0.10',
    'mmcv': '2.0',
    'mmseg': '1.2',
    'mmpretrain': '1.2',
}
_TORCH = ('torch', 'torchvision')
_INSTALL_TORCH = 'pip install torch torchvision'
_DATA_AND_MODELS = (
    'mmseg.datasets',
    'mmseg.models',
    'mmpretrain.datasets',
    'mmpretrain.models',
)


class Installed(NamedTuple):
    """Installed package: its import name, distribution and version."""

    package: str
    distribution: str
    version: str


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_stack(version: Versions = installed_version) -> dict[str, list[Installed]]:
    """Find installed packages by family; torch's are under ``'torch'``.

    Args:
        version (Callable): Returns a distribution's version or None. Defaults to the
            environment's.
    """
    torch: Distributions = {name: (name,) for name in _TORCH}
    groups = {'torch': torch, **_FAMILIES}
    found = {
        group: [
            Installed(package, name, number)
            for package, names in packages.items()
            for name in names
            if (number := version(name))
        ]
        for group, packages in groups.items()
    }
    return {group: installed for group, installed in found.items() if installed}


def check_stack(version: Versions = installed_version) -> None:
    """Check the installed versions, without importing packages.

    Imports torchvision only if it seems not to fit torch.

    Args:
        version (Callable): Returns a distribution's version or None. Defaults to the
            environment's.

    Raises:
        ImportError: If something is missing or too old, both families are installed, or
            torchvision does not fit torch. The message has the command to run.
    """
    found = find_stack(version)
    _check_families(found)
    _check_missing(found)
    _check_age(found)
    if _looks_mismatched(version('torch') or '', version('torchvision') or ''):
        import_or_explain('torchvision')


def _check_families(found: dict[str, list[Installed]]) -> None:
    both = [found[family] for family in _FAMILIES if family in found]
    if len(both) > 1:
        names = ' '.join(each.distribution for family in both for each in family)
        raise ImportError(
            'mmcosub: packages of two families that overwrite each other are '
            f'installed: {_listed(found)}. Keep one:\n  pip uninstall -y {names}\n'
            f'  {_install(MAINTAINED)}'
        )


def _check_missing(found: dict[str, list[Installed]]) -> None:
    present = {each.package for group in found.values() for each in group}
    missing = [package for package in OLDEST if package not in present]
    if not missing:
        return
    # Stay with the installed family: the two overwrite each other.
    family = next((name for name in _FAMILIES if name in found), MAINTAINED)
    commands = [_INSTALL_TORCH] if {*_TORCH} & {*missing} else []
    if {*missing} - {*_TORCH}:
        commands.append(_install(family, [] if family == MAINTAINED else missing))
    raise ImportError(
        f'mmcosub needs {", ".join(missing)}, not installed here. '
        f'{f"There is {_listed(found)}. " if found else ""}Install with:\n  '
        + '\n  '.join(commands)
    )


def _check_age(found: dict[str, list[Installed]]) -> None:
    old = [
        each
        for group in found.values()
        for each in group
        # Compare releases: 2.6.0a0+nv25.01 counts as 2.6.0.
        if Version(each.version).release < Version(OLDEST[each.package]).release
    ]
    if old:
        needs = ', '.join(
            f'{each.distribution}>={OLDEST[each.package]}' for each in old
        )
        raise ImportError(
            f'mmcosub needs {needs}. There is {_listed(found)}. In a new environment:\n'
            f'  {_INSTALL_TORCH}\n  {_install(MAINTAINED)}'
        )


def _install(family: str, packages: list[str] | None = None) -> str:
    """Return the command that installs a family or some of its packages."""
    names = [
        distributions[0]
        for package, distributions in _FAMILIES[family].items()
        if not packages or package in packages
    ]
    return f'pip install {" ".join(names)}'


def _listed(found: dict[str, list[Installed]]) -> str:
    return ', '.join(
        f'{each.distribution} {each.version}'
        for group in found.values()
        for each in group
    )


def import_or_explain(module: str) -> None:
    """Import a module; explain known causes of failure.

    Args:
        module (str): Module to import.

    Raises:
        ImportError: If torchvision is built for another torch, or the installed mmseg
            needs mmcv's missing compiled operators.
    """
    try:
        importlib.import_module(module)
    except (RuntimeError, ImportError, OSError) as error:
        if 'mmcv._ext' in str(error):
            raise ImportError(
                "mmcosub: OpenMMLab's mmsegmentation needs mmcv's compiled operators, "
                'and the mmcv here has none. Install mmcv built for this torch rather '
                f'than mmcv-lite, or, in a new environment, the family that does '
                f'without:\n  {_INSTALL_TORCH}\n  {_install(MAINTAINED)}'
            ) from error
        if 'torchvision' not in str(error) and module != 'torchvision':
            raise
        raise ImportError(
            f'mmcosub: torchvision {installed_version("torchvision")} does not fit '
            f'torch {installed_version("torch")} ({error}). Install both together:\n'
            f'  pip uninstall -y torch torchvision\n  {_INSTALL_TORCH}'
        ) from error


def import_stack_quietly() -> None:
    """Import both packages' datasets and models without their output.

    mmseg and mmpretrain print a line about an optional dataset service, and mmcv warns
    about a compiled operator; both are irrelevant here.
    """
    from mmcosub import registry  # noqa: F401  (checks the stack, names us to MMEngine)

    with contextlib.redirect_stdout(io.StringIO()):
        for module in _DATA_AND_MODELS:
            import_or_explain(module)


def ignore_known_warnings() -> None:
    """Ignore upstream warnings that users cannot act on."""
    for message in (
        'Fail to import ``MultiScaleDeformableAttention``',
        'Default ``avg_non_ignore`` is False',
        'The draw is False, it means that the hook for visualization',
        'The shape of value will convert from',
        'Unnecessary conv bias before batch/instance norm',
    ):
        warnings.filterwarnings('ignore', message=message)
    # The same for each loader.
    warnings.filterwarnings('once', message='This DataLoader will create')


def _looks_mismatched(torch: str, torchvision: str) -> bool:
    """Return True if torch and torchvision seem to be of different builds.

    A CPU build is ``2.x.y+cpu`` and needs a torchvision with the same label. This is
    only a hint: builds from source have other labels.
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
