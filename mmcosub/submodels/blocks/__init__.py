"""Branches of the known residual blocks, by family of networks.

To add a block, write its residual functions and register them under the class's full
name. A residual function computes the branch as upstream does, without DropPath, and
must not depend on the other rows of the batch.

Files named ``timm_...`` are for timm's networks, also as ``mmpretrain.TIMMBackbone``.
"""

from . import (  # noqa: F401  (each fills the table of known blocks)
    beit,
    convnext,
    convolutions,
    davit,
    hybrids,
    metaformer,
    mit,
    mobilenet,
    mvit,
    plain_libraries,
    realtime,
    resnet,
    swin,
    timm_convolutions,
    timm_pyramids,
    timm_transformers,
    twins,
    vit,
    xcit,
)
