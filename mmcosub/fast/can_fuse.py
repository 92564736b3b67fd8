"""Checks of the convolutions that are computed another way."""

from torch import nn


def can_fuse(conv: nn.Module) -> bool:
    """True if :func:`~mmcosub.fast.fused_conv` computes a convolution.

    Args:
        conv (nn.Module): The convolution.
    """
    return (
        type(conv) is nn.Conv2d
        and (conv.kernel_size, conv.padding) in (((3, 3), (1, 1)), ((1, 1), (0, 0)))
        and conv.stride == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == 'zeros'
        and not has_hooks(conv)
        and not hasattr(conv, 'parametrizations')
    )


def has_hooks(module: nn.Module) -> bool:
    """True if calling a module does more than its forward.

    Args:
        module (nn.Module): The module.
    """
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
