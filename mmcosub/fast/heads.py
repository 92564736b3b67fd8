"""Faster decode heads with the parameters and outputs of mmseg's.

They take the arguments of mmseg's. Shapes: ``B`` images, ``C`` channels, ``h, w`` of a
level and ``H, W`` of the finest one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from mmseg.models.decode_heads import FCNHead, PSPHead, SegformerHead, UPerHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.utils import resize
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmcosub.registry import MODELS, log_once

from .convolutions import can_fuse, has_hooks
from .fused_conv import fused_conv
from .resized_cross_entropy import resized_cross_entropy

_EPS = torch.finfo(torch.float32).eps  # as in mmseg's losses and accuracy


class FastHead(BaseDecodeHead):
    """Base of the faster decode heads: label loss and fused convolutions.

    The softmax cross-entropy runs without upsampled logits
    (``mmcosub.fast.resized_cross_entropy``). Other losses and pixel samplers run as
    upstream, with one log message.
    """

    def loss_by_feat(
        self, seg_logits: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Return upstream's label loss and accuracy.

        Args:
            seg_logits (Tensor): Of shape (B, classes, h, w).
            batch_data_samples (list[SegDataSample]): Labels of B images.
        """
        losses = self.loss_decode
        if not isinstance(losses, nn.ModuleList):
            losses = [losses]
        if self.sampler is not None or not all(map(_is_softmax, losses)):
            self.log_fallback('its loss is not the plain softmax cross-entropy')
            return super().loss_by_feat(seg_logits, batch_data_samples)
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        result: dict[str, Tensor] = {}
        for loss in losses:
            weight = loss.class_weight
            if weight is not None:
                dtype = torch.promote_types(seg_logits.dtype, torch.float32)
                weight = _on_device(tuple(weight), dtype, seg_logits.device)
            total, right = resized_cross_entropy(
                seg_logits, labels, self.align_corners, weight, self.ignore_index
            )
            value = total / (_denominator(loss, labels, weight, self.ignore_index))
            name = loss.loss_name
            result[name] = result.get(name, 0) + loss.loss_weight * value
        valid = (labels != self.ignore_index).sum()
        result['acc_seg'] = ((right + _EPS) * 100 / (valid + _EPS))[None]
        return result

    def fuse(self, module: Any, levels: Sequence[Tensor]) -> Tensor:
        """Run a ``ConvModule`` on levels (B, C, h, w) resized to the first one's size.

        C, h and w may differ between levels.
        """
        plain = can_fuse(module.conv) and not has_hooks(module)
        if not (plain and module.order == ('conv', 'norm', 'act')):
            self.log_fallback(
                f'{module.conv} is not plain, 1x1 or 3x3 and without hooks'
            )
            how = dict(mode='bilinear', align_corners=self.align_corners)
            resized = [resize(x, levels[0].shape[2:], **how) for x in levels]
            return module(torch.cat(resized, dim=1))
        x = fused_conv(module.conv, levels, self.align_corners)
        if module.with_norm:
            x = module.norm(x)
        return module.activate(x) if module.with_activation else x

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Classify each pixel of a feature map (B, C, H, W).

        The head's dropout drops whole channels of an image. It is applied to one copy
        of the classifier's weights per image, which is smaller than the feature map.
        """
        conv, dropout = self.conv_seg, self.dropout
        plain = can_fuse(conv) and conv.kernel_size == (1, 1) and conv.bias is not None
        if dropout is not None:
            plain = plain and type(dropout) is nn.Dropout2d and not has_hooks(dropout)
        if not plain:
            self.log_fallback('its classifier or dropout is not plain')
            return super().cls_seg(feat)
        weight = conv.weight.flatten(1).expand(len(feat), -1, -1)
        if dropout is not None and dropout.training:
            kept = dropout(feat.new_ones(*feat.shape[:2], 1, 1))
            weight = weight * kept.flatten(1)[:, None]
        logits = torch.baddbmm(conv.bias[:, None], weight, feat.flatten(2))
        return logits.unflatten(2, feat.shape[2:])

    def pool(self, x: Tensor) -> list[Tensor]:
        """Return maps of mmseg's pyramid pooling, before their upsampling."""
        if not has_hooks(self.psp_modules):
            return [pool(x) for pool in self.psp_modules]
        self.log_fallback('its pyramid pooling has hooks')
        return self.psp_modules(x)

    def log_fallback(self, reason: str) -> None:
        """Log once per class and reason that the head runs upstream's computation."""
        log_once(f'{type(self).__name__}: {reason}, so it runs the stock computation.')


@lru_cache(maxsize=64)  # so that no forward waits for a copy
@torch.inference_mode(False)
def _on_device(
    weight: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    return torch.tensor(weight, dtype=dtype, device=device)


def _is_softmax(loss: nn.Module) -> bool:
    return (
        type(loss) is CrossEntropyLoss
        and not (loss.use_sigmoid or loss.use_mask)
        and loss.reduction == 'mean'
        and not has_hooks(loss)
    )


def _denominator(
    loss: CrossEntropyLoss, labels: Tensor, weight: Tensor | None, ignore_index: int
) -> Tensor | float:
    """Return the divisor of mmseg's cross-entropy for the sum over pixels."""
    valid = labels != ignore_index
    if weight is not None:
        return (weight[labels.where(valid, 0)] * valid).sum() + _EPS
    if loss.avg_non_ignore:
        return valid.sum() + _EPS
    return labels.numel() + _EPS


@MODELS.register_module()
class FastFCNHead(FastHead, FCNHead):
    """mmseg's ``FCNHead`` with the label loss of :class:`FastHead`."""


@MODELS.register_module()
class FastPSPHead(FastHead, PSPHead):
    """mmseg's ``PSPHead`` that convolves pooled maps at their own resolution."""

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        x = self._transform_inputs(inputs)
        return self.fuse(self.bottleneck, [x, *self.pool(x)])


@MODELS.register_module()
class FastSegformerHead(FastHead, SegformerHead):
    """mmseg's ``SegformerHead`` that fuses levels before it upsamples them.

    Its 1x1 convolution over the upsampled, concatenated levels runs at each level's own
    resolution: with four levels, a third of the FLOPs. With an ``interpolate_mode``
    other than bilinear it runs upstream's computation.
    """

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits (B, classes, H, W) of feature maps, the finest first."""
        if self.interpolate_mode != 'bilinear':
            self.log_fallback(f'it interpolates by {self.interpolate_mode!r}')
            return super().forward(inputs)
        inputs = self._transform_inputs(inputs)
        levels = [conv(x) for conv, x in zip(self.convs, inputs, strict=True)]
        return self.cls_seg(self.fuse(self.fusion_conv, levels))


@MODELS.register_module()
class FastUPerHead(FastHead, UPerHead):
    """mmseg's ``UPerHead`` with about half the FLOPs, and the same weights and output.

    Upstream upsamples feature maps, concatenates them and convolves the result, twice:
    after the pooled maps, and to fuse the pyramid, which is most of a UperNet's work.
    This head convolves each map at its own resolution and upsamples the smaller result;
    see ``mmcosub.fast.fused_conv``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for module in (*self.lateral_convs, *self.fpn_convs):
            activate = getattr(module, 'activate', None)
            if module.order[-1] == 'act' and isinstance(activate, nn.ReLU):
                activate.inplace = True  # nothing else uses its input

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Pool the coarsest level, the last, and fuse the pooled maps."""
        x = inputs[-1]
        return self.fuse(self.bottleneck, [x, *self.pool(x)])

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
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
