"""The known blocks, by family: where their residual branches are.

To add one, write its residual functions and register them under the class's full name.
A residual function runs the branch as the stock block does, up to but not including
its drop path, and must not depend on which other rows are in the batch.

Files named ``timm_...`` are for timm's networks, which come into MMPretrain and
MMSegmentation through ``mmpretrain.TIMMBackbone``.
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
