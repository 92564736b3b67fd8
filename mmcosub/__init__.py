"""Submodel co-training for MMSegmentation and MMPretrain."""

from .stack import check_stack, installed_version

__version__ = '0.2.0'

# Before anything that imports the stack, so that a wrong one is named as such.
check_stack()

from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402

from . import registry  # noqa: E402
from .from_cfg import heed_schemes  # noqa: E402

# Lets a config say `_base_ = ['mmcosub::_base_/schemes/cosub.py']`.
MODULE2PACKAGE.setdefault('mmcosub', 'mmcosub')
# `mmseg::` asks pip for mmsegmentation, which OneDL publishes under another name; an
# import name will do as well.
if not installed_version('mmsegmentation'):
    MODULE2PACKAGE['mmseg'] = 'mmseg'

heed_schemes()

__all__ = ['__version__', 'registry']
