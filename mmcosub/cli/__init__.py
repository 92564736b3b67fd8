"""The command ``mmcosub``: thin over the scripts of ``tools/``."""

from .main import main

__all__ = ['main']
