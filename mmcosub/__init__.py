"""Submodel co-training for MMSegmentation and MMPretrain."""

from .stack import (
    asked_for_info,
    check_stack,
    ignore_known_warnings,
    installed_version,
)

__version__ = '0.2.0'


def _use_stack() -> None:
    """Make our names known to the packages underneath."""
    from mmengine.config.utils import MODULE2PACKAGE

    from . import registry  # noqa: F401
    from .when_imported import when_imported

    # Lets a config say `_base_ = ['mmcosub::_base_/schemes/cosub.py']`.
    MODULE2PACKAGE.setdefault('mmcosub', 'mmcosub')
    # `mmseg::` asks pip for mmsegmentation, which OneDL publishes under another name;
    # an import name will do as well.
    if not installed_version('mmsegmentation'):
        MODULE2PACKAGE['mmseg'] = 'mmseg'
    when_imported('mmengine.runner', _heed_schemes)
    ignore_known_warnings()  # whichever of our packages imports the stack first


def _heed_schemes() -> None:
    from .from_cfg import heed_schemes

    heed_schemes()


try:
    # Before anything that imports the stack, so that a wrong one is named as such.
    check_stack()
except ImportError:
    if not asked_for_info():  # which says it, with the rest
        raise
else:
    _use_stack()

__all__ = ['__version__']
