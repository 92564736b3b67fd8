"""Branches of the known residual blocks, by family of networks.

To add a block, write its residual functions and register them under the class's full
name. A residual function computes the branch as upstream does, without DropPath, and
must not depend on the other rows of the batch. ``notation`` writes most of them in a
line.
"""

from . import (  # noqa: F401  (each fills the table of known blocks)
    convolutions,
    hybrids,
    plain_libraries,
    resnet,
    timm_networks,
    transformers,
)
