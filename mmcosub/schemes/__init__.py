"""Schemes: one file a method."""

from .base import Scheme, Teaching
from .cosub import Cosub

__all__ = ['Cosub', 'Scheme', 'Teaching']
