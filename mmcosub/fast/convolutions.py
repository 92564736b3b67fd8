"""Checks of convolutions, and BatchNorms folded into them."""

from collections import Counter
from typing import Any

from mmcv.cnn import ConvModule, fuse_conv_bn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def can_fuse(conv: nn.Module) -> bool:
    """True if ``fused_conv`` computes a convolution."""
    return (
        type(conv) is nn.Conv2d  # of another class if it has parametrizations
        and (conv.kernel_size, conv.padding) in (((3, 3), (1, 1)), ((1, 1), (0, 0)))
        and conv.stride == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == 'zeros'
        and not has_hooks(conv)
    )


def has_hooks(module: nn.Module) -> bool:
    """True if calling a module does something else than its class's forward."""
    return bool(
        'forward' in vars(module)
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def fold_norms(model: nn.Module) -> int:
    """Fold BatchNorms into the convolutions before them, for inference only.

    In evaluation mode, BatchNorm is a factor and a shift per channel, which the
    convolution can apply. Folds norms of mmcv's ``ConvModule`` only, whose order of
    computation is known. Afterwards, the parameters do not match checkpoints.

    Args:
        model (nn.Module): The model with its final weights, changed in place.

    Returns:
        int: Number of norms that were folded.
    """
    # A convolution of several modules, each with its own norm, cannot hold them all.
    uses = Counter(m for _, m in model.named_modules(remove_duplicate=False))
    modules = [
        m
        for m in model.modules()
        if isinstance(m, ConvModule) and _folds(m) and uses[m.conv] == 1
    ]
    for module in modules:
        fuse_conv_bn(module)
        activate = getattr(module, 'activate', None)
        if isinstance(activate, nn.ReLU):
            activate.inplace = True  # nothing else uses the convolution's output
    return len(modules)


def _folds(module: Any) -> bool:
    norm = module.norm if module.with_norm else None
    return (
        type(module.conv) is nn.Conv2d
        and not has_hooks(module.conv)
        and isinstance(norm, _BatchNorm)
        and not has_hooks(norm)
        and norm.affine
        and norm.running_mean is not None
        and module.order == ('conv', 'norm', 'act')
    )
