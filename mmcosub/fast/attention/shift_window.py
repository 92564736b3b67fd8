from typing import Any

import torch
from mmpretrain.models.utils import ShiftWindowMSA, WindowMSA
from mmseg.models.backbones import swin as mmseg_swin
from torch import Tensor, nn

from mmcosub.fast.can_fuse import has_hooks
from mmcosub.fast.window_attention import window_attention
from mmcosub.fast.window_layout import window_layout
from mmcosub.log_once import log_once


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
        """Compute attention inside shifted windows.

        Args:
            query (Tensor): Of shape (B, L, C).
            hw_shape (tuple[int, int]): Height and width, with a product of L.

        Returns:
            Tensor: Of shape (B, L, C).
        """
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
        """Return the cyclic shift of windows, or None if the map is too small.

        Args:
            hw_shape (tuple[int, int]): Height and width.
        """
        return self.shift_size


def _unusual(inner: Any) -> str | None:
    """Return the reason to run upstream's computation, or None."""
    # The faster computation does not call these modules, so their hooks (to look at
    # attention maps, for instance) would not run.
    if any(has_hooks(m) for m in (inner, inner.softmax, inner.attn_drop)):
        return 'it has hooks'
    if torch.jit.is_tracing():
        return 'it is being traced'
    return None


class FastShiftWindowMSA(_FastShiftWindowMSA, ShiftWindowMSA):
    """MMPretrain's ``ShiftWindowMSA``, faster, with the same weights and output."""

    stock_inner = WindowMSA

    def shift(self, hw_shape: tuple[int, int]) -> int | None:
        """Return the cyclic shift of windows, or None if the map is too small.

        Args:
            hw_shape (tuple[int, int]): Height and width.
        """
        smaller = min(hw_shape) - self.window_size
        if smaller > 0 or self.pad_small_map:
            return self.shift_size
        return None if smaller else 0


class FastMMSegShiftWindowMSA(_FastShiftWindowMSA, mmseg_swin.ShiftWindowMSA):
    """mmseg's ``ShiftWindowMSA``, faster, with the same weights and output."""

    stock_inner = mmseg_swin.WindowMSA
