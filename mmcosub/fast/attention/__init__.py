"""Faster attention of upstream backbones, with the same weights and outputs."""

from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmpretrain.models.utils import ShiftWindowMSA
from mmseg.models.backbones import mit, swin
from torch import nn

from mmcosub.log_once import log_once

from .multi_head import FastMultiheadAttention
from .shift_window import FastMMSegShiftWindowMSA, FastShiftWindowMSA

__all__ = ['accelerate_attention']

_WINDOWED = {
    ShiftWindowMSA: FastShiftWindowMSA,
    swin.ShiftWindowMSA: FastMMSegShiftWindowMSA,
}
# Wrappers of PyTorch's attention that do not use the weights.
_AROUND_TORCHS = (MultiheadAttention, mit.EfficientMultiheadAttention)


def accelerate_attention(model: nn.Module) -> int:
    """Replace the classes of upstream attentions by faster ones, in place.

    Parameters stay the same. Other classes, subclasses of upstream's included, do not
    change.

    Args:
        model (nn.Module): The model.

    Returns:
        int: Number of replaced attentions.
    """
    count = 0
    for module in model.modules():
        fast = _WINDOWED.get(type(module))
        if fast is not None:
            if type(module.w_msa) is not fast.stock_inner:
                kind = type(module.w_msa).__name__
                log_once(f'There is no faster way for {kind}: it stays as it is.')
                continue
            module.__class__ = fast
        elif type(module) in _AROUND_TORCHS:
            if type(module.attn) is not nn.MultiheadAttention:
                continue
            module.attn.__class__ = FastMultiheadAttention
        else:
            continue
        count += 1
    return count
