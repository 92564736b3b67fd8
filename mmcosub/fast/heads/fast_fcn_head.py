from mmseg.models.decode_heads import FCNHead

from mmcosub.registry import MODELS

from .fast_head import FastHead


@MODELS.register_module()
class FastFCNHead(FastHead, FCNHead):
    """mmseg's ``FCNHead`` with the label loss of :class:`FastHead`.

    Arguments are those of ``FCNHead``.
    """
