from typing import Any

from torch import Tensor, nn


class FastMultiheadAttention(nn.MultiheadAttention):
    """PyTorch's own, by its fused kernel: same weights, same output.

    That kernel has no attention weights to give back. PyTorch computes them unless
    told not to; mmcv and mmseg, which have no use for them, do not tell.
    """

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            *args: As of ``nn.MultiheadAttention``.
            **kwargs: Likewise; ``need_weights`` is taken as False.

        Returns:
            tuple[Tensor, None]: The output, and None for the weights.
        """
        if len(args) > 4:
            args = (*args[:4], False, *args[5:])
        else:
            kwargs['need_weights'] = False
        return super().forward(*args, **kwargs)
