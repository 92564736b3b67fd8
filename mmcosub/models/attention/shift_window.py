from typing import Any

import torch
from mmpretrain.models.utils import ShiftWindowMSA, WindowMSA
from mmseg.models.backbones import swin as mmseg_swin
from torch import Tensor, nn

from mmcosub.ops import has_hooks, window_attention, windows

from .said import say_once


class _FastShiftWindowMSA(nn.Module):
    """What both packages' faster shifted-window attentions have in common.

    The linear layers see the tokens of the map only, not those that it is padded
    with; what these are to queries, keys and values is computed once. Windows are
    never laid out as such; see ``mmcosub.ops.window_attention``.
    """

    stock_inner: type[nn.Module]
    w_msa: Any
    drop: nn.Module
    window_size: int
    shift_size: int

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Attention inside shifted windows.

        Args:
            query (Tensor): Of shape (B, L, C).
            hw_shape (tuple[int, int]): Height and width, with a product of L.

        Returns:
            Tensor: Of shape (B, L, C).
        """
        inner, shift = self.w_msa, self.shift(hw_shape)
        reason = _unusual(inner)
        if reason:
            say_once(f'Windowed attention: {reason}, so the stock computation is used.')
        if reason or shift is None or query.shape[1] != hw_shape[0] * hw_shape[1]:
            return super().forward(query, hw_shape)
        layout = windows(
            *map(int, hw_shape), self.window_size, shift, str(query.device)
        )
        C, N = query.shape[2], layout.tokens.shape[1]
        bias = inner.relative_position_bias_table[
            inner.relative_position_index.view(-1)
        ]
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
        """By how much windows are shifted, None for a map that cannot be.

        Args:
            hw_shape (tuple[int, int]): Height and width.
        """
        return self.shift_size


def _unusual(inner: Any) -> str | None:
    """Why an attention cannot be computed another way, if so."""
    # These are not called; hooks on them are how attention maps are looked at.
    if any(has_hooks(m) for m in (inner, inner.softmax, inner.attn_drop)):
        return 'it has hooks'
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return 'it is being traced'
    return None


class FastShiftWindowMSA(_FastShiftWindowMSA, ShiftWindowMSA):
    """MMPretrain's ``ShiftWindowMSA`` for less: same weights, same output."""

    stock_inner = WindowMSA

    def shift(self, hw_shape: tuple[int, int]) -> int | None:
        """By how much windows are shifted, None for a map that cannot be.

        Args:
            hw_shape (tuple[int, int]): Height and width.
        """
        smaller = min(hw_shape) - self.window_size
        if smaller > 0 or self.pad_small_map:
            return self.shift_size
        return None if smaller else 0


class FastMMSegShiftWindowMSA(_FastShiftWindowMSA, mmseg_swin.ShiftWindowMSA):
    """mmseg's ``ShiftWindowMSA`` for less: same weights, same output."""

    stock_inner = mmseg_swin.WindowMSA
