from typing import Any

from mmcv.cnn import ConvModule, fuse_conv_bn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .fused_conv import has_hooks


def fold_norms(model: nn.Module) -> int:
    """Fold BatchNorms into the convolutions before them, for inference only.

    In evaluation mode a BatchNorm is a factor and a shift a channel, which the
    convolution's weights can take over. Only within mmcv's ``ConvModule``, which says
    in which order it computes. The parameters are then no longer a checkpoint's.

    Args:
        model (nn.Module): The model, with the weights it is to predict with; changed in
            place.

    Returns:
        int: Number of norms that were folded.
    """
    modules = [m for m in model.modules() if isinstance(m, ConvModule) and _folds(m)]
    for module in modules:
        fuse_conv_bn(module)
        activate = getattr(module, 'activate', None)
        if isinstance(activate, nn.ReLU):
            activate.inplace = True  # the convolution's output is nobody else's
    return len(modules)


def _folds(module: Any) -> bool:
    norm = module.norm if module.with_norm else None
    return (
        type(module.conv) is nn.Conv2d
        and not has_hooks(module.conv)
        and not hasattr(module.conv, 'parametrizations')
        and isinstance(norm, _BatchNorm)
        and not has_hooks(norm)
        and norm.affine
        and norm.running_mean is not None
        and module.order == ('conv', 'norm', 'act')
    )
