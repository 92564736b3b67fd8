from typing import Any

from torch import Tensor, nn


class FastMultiheadAttention(nn.MultiheadAttention):
    """PyTorch's attention with its fused kernel, with the same weights and output.

    The kernel does not return attention weights. mmcv and mmseg do not use them, but
    leave ``need_weights`` at its default, which rules out the kernel.
    """

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Compute attention.

        Args:
            *args: Arguments of ``nn.MultiheadAttention``.
            **kwargs: Keyword arguments of it; ``need_weights`` is set to False.

        Returns:
            tuple[Tensor, None]: The output, and None for the weights.
        """
        if len(args) > 4:
            args = (*args[:4], False, *args[5:])
        else:
            kwargs['need_weights'] = False
        return super().forward(*args, **kwargs)
