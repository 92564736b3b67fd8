"""Checks that the installed packages fit together, with commands to fix them."""

import contextlib
import importlib
import importlib.metadata
import io
import warnings
from collections.abc import Callable
from typing import NamedTuple

from packaging.version import Version

Versions = Callable[[str], str | None]

# Two families of distributions publish the same four packages; mmcv also has a `lite`
# build.
_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    'torch': {'torch': ('torch',), 'torchvision': ('torchvision',)},
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
    """Find installed packages by family; torch's are under ``'torch'``."""
    found = {
        group: [
            Installed(package, name, number)
            for package, names in packages.items()
            for name in names
            if (number := version(name))
        ]
        for group, packages in _GROUPS.items()
    }
    return {group: installed for group, installed in found.items() if installed}


def check_stack(version: Versions = installed_version) -> None:
    """Check the installed versions, without importing packages.

    Imports torchvision only if it seems to be of another build than torch. Raises an
    ``ImportError`` with the command to run if something is missing or too old, both
    families are installed, or torchvision does not fit torch.
    """
    found = find_stack(version)
    every = [each for group in found.values() for each in group]
    listed = ', '.join(f'{each.distribution} {each.version}' for each in every)
    families = [found[group] for group in found if group != 'torch']
    if len(families) > 1:
        names = ' '.join(each.distribution for family in families for each in family)
        raise ImportError(
            'mmcosub: packages of two families that overwrite each other are '
            f'installed: {listed}. Keep one:\n  pip uninstall -y {names}\n'
            f'  {_install(MAINTAINED)}'
        )
    missing = [name for name in OLDEST if name not in {each.package for each in every}]
    if missing:
        # Stay with the installed family: the two overwrite each other.
        family = next((group for group in found if group != 'torch'), MAINTAINED)
        commands = [_install('torch')] if {*missing} & {*_GROUPS['torch']} else []
        if {*missing} - {*_GROUPS['torch']}:
            commands.append(_install(family, [] if family == MAINTAINED else missing))
        raise ImportError(
            f'mmcosub needs {", ".join(missing)}, not installed here. '
            f'{f"There is {listed}. " if found else ""}Install with:\n  '
            + '\n  '.join(commands)
        )
    needs = ', '.join(
        f'{each.distribution}>={OLDEST[each.package]}'
        for each in every
        # Compare releases: 2.6.0a0+nv25.01 counts as 2.6.0.
        if Version(each.version).release < Version(OLDEST[each.package]).release
    )
    if needs:
        raise ImportError(
            f'mmcosub needs {needs}. There is {listed}. In a new environment:\n'
            f'  {_install("torch")}\n  {_install(MAINTAINED)}'
        )
    # A CPU build is `2.x.y+cpu` and needs a torchvision with the same label. Builds
    # from source have other labels, so importing decides.
    torch, torchvision = (Version(each.version).local for each in found['torch'])
    if torch != torchvision:
        import_or_explain('torchvision')


def _install(group: str, packages: list[str] | None = None) -> str:
    """Return the command that installs a family or some of its packages."""
    named = _GROUPS[group].items()
    names = [names[0] for name, names in named if not packages or name in packages]
    return f'pip install {" ".join(names)}'


def import_or_explain(module: str) -> None:
    """Import a module; explain known causes of failure.

    These are a torchvision built for another torch, and an mmseg that needs mmcv's
    missing compiled operators.
    """
    try:
        importlib.import_module(module)
    except (RuntimeError, ImportError, OSError) as error:
        if 'mmcv._ext' in str(error):
            raise ImportError(
                "mmcosub: OpenMMLab's mmsegmentation needs mmcv's compiled operators, "
                'and the mmcv here has none. Install mmcv built for this torch rather '
                f'than mmcv-lite, or, in a new environment, the family that does '
                f'without:\n  {_install("torch")}\n  {_install(MAINTAINED)}'
            ) from error
        if 'torchvision' not in str(error) and module != 'torchvision':
            raise
        raise ImportError(
            f'mmcosub: torchvision {installed_version("torchvision")} does not fit '
            f'torch {installed_version("torch")} ({error}). Install both together:\n'
            f'  pip uninstall -y torch torchvision\n  {_install("torch")}'
        ) from error


def import_stack_quietly() -> None:
    """Import both packages' datasets and models without their output.

    mmseg and mmpretrain print a line about an optional dataset service, and mmcv warns
    about a compiled operator; both are irrelevant here.
    """
    from mmcosub import registry  # noqa: F401  (checks the stack, names us to MMEngine)

    with contextlib.redirect_stdout(io.StringIO()):
        for package in ('mmseg', 'mmpretrain'):
            for part in ('datasets', 'models'):
                import_or_explain(f'{package}.{part}')


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
