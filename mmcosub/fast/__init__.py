"""Faster computation of upstream heads and attention: same weights, same outputs."""

from mmcosub import registry  # noqa: F401  (first, as it checks the stack)
