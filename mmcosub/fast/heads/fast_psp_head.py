from collections.abc import Sequence

from mmseg.models.decode_heads import PSPHead
from torch import Tensor

from mmcosub.registry import MODELS

from .fast_head import FastHead


@MODELS.register_module()
class FastPSPHead(FastHead, PSPHead):
    """mmseg's ``PSPHead`` that convolves pooled maps at their own resolution.

    Arguments are those of ``PSPHead``.
    """

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the feature map to classify, of shape (B, channels, H, W).

        Args:
            inputs (Sequence[Tensor]): Feature maps of all levels.
        """
        x = self._transform_inputs(inputs)
        pooled = [pool(x) for pool in self.psp_modules]
        return self.fuse(self.bottleneck, [x, *pooled])
