"""Faster heads, attention and convolutions with the weights and outputs of upstream."""

from mmcosub import registry  # noqa: F401  (first, as it checks the stack)
