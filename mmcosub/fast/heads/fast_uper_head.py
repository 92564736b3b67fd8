from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads import UPerHead
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmcosub.registry import MODELS

from .fast_head import FastHead


@MODELS.register_module()
class FastUPerHead(FastHead, UPerHead):
    """mmseg's ``UPerHead`` with about half the FLOPs, and the same weights and output.

    Upstream upsamples feature maps, concatenates them and convolves the result, twice:
    after the pooled maps, and to fuse the pyramid, which is most of a UperNet's work.
    This head convolves each map at its own resolution and upsamples the smaller result;
    see ``mmcosub.fast.fused_conv``.

    Arguments are those of ``UPerHead``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for module in (*self.lateral_convs, *self.fpn_convs):
            activate = getattr(module, 'activate', None)
            if module.order[-1] == 'act' and isinstance(activate, nn.ReLU):
                activate.inplace = True  # nothing else uses its input

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Pool the coarsest level and fuse the pooled maps.

        Args:
            inputs (Sequence[Tensor]): Feature maps, the coarsest last.
        """
        x = inputs[-1]
        pooled = [pool(x) for pool in self.psp_modules]
        return self.fuse(self.bottleneck, [x, *pooled])

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Compute the feature map to classify, of shape (B, channels, H, W).

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
        levels = [
            self.fuse(conv, [x])
            for conv, x in zip(self.fpn_convs, laterals, strict=False)
        ]
        return self.fuse(self.fpn_bottleneck, [*levels, laterals[-1]])
