"""Faster attention of upstream backbones, with the same weights and outputs."""

from typing import Any

import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmpretrain.models.utils import ShiftWindowMSA, WindowMSA
from mmseg.models.backbones import mit
from mmseg.models.backbones import swin as mmseg_swin
from torch import Tensor, nn

from mmcosub.registry import log_once

from .convolutions import has_hooks
from .window_attention import window_attention
from .window_layout import window_layout


class _FastShiftWindowMSA(nn.Module):
    """Base of the faster shifted-window attentions of both packages.

    Upstream pads the map, rolls it and copies it into windows. Here the linear layers
    run on the tokens of the map only, and once for the padding, whose tokens are all
    equal. The attention reads each window's tokens from the map; see
    ``mmcosub.fast.window_attention``.
    """

    stock_inner: type[nn.Module]
    w_msa: Any
    drop: nn.Module
    window_size: int
    shift_size: int

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Compute attention, (B, L, C), of a map with L = height * width tokens."""
        if torch.compiler.is_compiling():
            return super().forward(query, hw_shape)
        inner, shift = self.w_msa, self.shift(hw_shape)
        reason = _unusual(inner)
        if reason:
            log_once(f'Windowed attention: {reason}, so the stock computation is used.')
        if reason or shift is None or query.shape[1] != hw_shape[0] * hw_shape[1]:
            return super().forward(query, hw_shape)
        layout = window_layout(
            *map(int, hw_shape), self.window_size, shift, str(query.device)
        )
        C, N = query.shape[2], layout.tokens.shape[1]
        # Indexing by [] would sort in the backward pass on a GPU.
        bias = inner.relative_position_bias_table.index_select(
            0, inner.relative_position_index.view(-1)
        )
        x = window_attention(
            inner.qkv(query),
            inner.qkv(query.new_zeros(1, C))[0] if layout.padded else None,
            bias.view(N, N, -1).permute(2, 0, 1),
            layout,
            inner.scale,
            inner.attn_drop.p if inner.attn_drop.training else 0.0,
        )
        return self.drop(inner.proj_drop(inner.proj(x)))

    def shift(self, hw_shape: tuple[int, int]) -> int | None:
        """Return the cyclic shift of windows, or None if the map is too small."""
        return self.shift_size


def _unusual(inner: Any) -> str | None:
    """Return the reason to run upstream's computation, or None."""
    # These modules are not called, so their hooks (to look at attention maps, for
    # instance) would not run.
    if any(has_hooks(m) for m in (inner, inner.softmax, inner.attn_drop)):
        return 'it has hooks'
    return 'it is being traced' if torch.jit.is_tracing() else None


class FastShiftWindowMSA(_FastShiftWindowMSA, ShiftWindowMSA):
    """MMPretrain's ``ShiftWindowMSA``, faster, with the same weights and output."""

    stock_inner = WindowMSA

    def shift(self, hw_shape: tuple[int, int]) -> int | None:
        """Return the shift: 0 if the map is one window; maps may also be padded."""
        smaller = min(hw_shape) - self.window_size
        if smaller > 0 or self.pad_small_map:
            return self.shift_size
        return None if smaller else 0


class FastMMSegShiftWindowMSA(_FastShiftWindowMSA, mmseg_swin.ShiftWindowMSA):
    """mmseg's ``ShiftWindowMSA``, faster, with the same weights and output."""

    stock_inner = mmseg_swin.WindowMSA


class FastMultiheadAttention(nn.MultiheadAttention):
    """PyTorch's attention with its fused kernel, with the same weights and output.

    The kernel does not return attention weights. mmcv and mmseg do not use them, but
    leave ``need_weights`` at its default, which rules out the kernel.
    """

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Compute attention; the second output, the weights, is None without hooks."""
        if has_hooks(self):  # which may want the weights
            log_once('Attention: it has hooks, so the stock computation is used.')
        elif len(args) > 4:
            args = (*args[:4], False, *args[5:])
        else:
            kwargs['need_weights'] = False
        return super().forward(*args, **kwargs)


_WINDOWED = {
    ShiftWindowMSA: FastShiftWindowMSA,
    mmseg_swin.ShiftWindowMSA: FastMMSegShiftWindowMSA,
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
        if fast is not None and type(module.w_msa) is fast.stock_inner:
            module.__class__ = fast
        elif fast is not None:
            kind = type(module.w_msa).__name__
            log_once(f'There is no faster way for {kind}: it stays as it is.')
            continue
        elif (
            type(module) in _AROUND_TORCHS
            and type(module.attn) is nn.MultiheadAttention
        ):
            module.attn.__class__ = FastMultiheadAttention
        else:
            continue
        count += 1
    return count
