from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmseg.models.decode_heads import UPerHead
from mmseg.models.utils import resize
from torch import Tensor

from mmcosub.registry import MODELS

from .fusion import can_fuse, fused_conv


@MODELS.register_module()
class FastUPerHead(UPerHead):
    """mmseg's ``UPerHead`` for about half the work: same weights, same output.

    Its two convolutions over upsampled, concatenated maps (the one that fuses the
    pyramid, most of a UperNet's work, and the one behind the pooled maps) apply their
    taps at each map's own resolution; see ``fusion.py``. Nothing is upsampled before or
    concatenated. A convolution of another kind than the stock 3x3 runs as in the stock
    head, which the log says once.

    Arguments are those of ``UPerHead``.
    """

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Pool the coarsest level and fuse what comes out.

        Args:
            inputs (Sequence[Tensor]): Feature maps, the coarsest last.
        """
        x = inputs[-1]
        pooled = [pool(x) for pool in self.psp_modules]
        return self._fuse(self.bottleneck, [x, *pooled])

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The feature map that is classified, of shape (B, channels, H, W).

        Args:
            inputs (Sequence[Tensor]): Feature maps of all levels.
        """
        inputs = self._transform_inputs(inputs)
        laterals = [
            conv(x) for conv, x in zip(self.lateral_convs, inputs, strict=False)
        ]
        laterals.append(self.psp_forward(inputs))
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + resize(
                laterals[i],
                size=laterals[i - 1].shape[2:],
                mode='bilinear',
                align_corners=self.align_corners,
            )
        levels = [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False)]
        return self._fuse(self.fpn_bottleneck, [*levels, laterals[-1]])

    def _fuse(self, module: Any, levels: Sequence[Tensor]) -> Tensor:
        """A ``ConvModule`` over levels resized to the first one's resolution."""
        size = levels[0].shape[2], levels[0].shape[3]
        if not (can_fuse(module.conv) and module.order == ('conv', 'norm', 'act')):
            self._say_once(module)
            resized = [
                resize(x, size=size, mode='bilinear', align_corners=self.align_corners)
                for x in levels
            ]
            return module(torch.cat(resized, dim=1))
        x = fused_conv(module.conv, levels, size, self.align_corners)
        if module.with_norm:
            x = module.norm(x)
        return module.activate(x) if module.with_activation else x

    def _say_once(self, module: Any) -> None:
        if not getattr(self, '_said', False):
            self._said = True
            print_log(
                f'FastUPerHead: {module.conv} is not a plain 3x3 convolution, so the '
                'stock computation is used for it.',
                'current',
            )
