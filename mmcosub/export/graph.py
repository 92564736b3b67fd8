"""The module that is exported: from images to classes.

Shapes: ``B`` images, ``C`` classes, ``H, W`` of the images.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.utils import Upsample
from torch import Tensor, nn

from mmcosub.analysis.predictions import is_multi_label, threshold_of
from mmcosub.models.segmentor_heads import classifies_masks


class DeployedModel(nn.Module):
    """A segmentor or classifier with what upstream does around its network.

    Padding, sliding windows, resizing of logits, argmax; and, if wanted, normalisation.
    """

    def __init__(self, model: Any, preprocessing: bool = False) -> None:
        super().__init__()
        self.model = model
        self.segments = hasattr(model, 'decode_head')
        self.output = 'classes' if self.segments else 'probabilities'
        self.slides = self.segments and model.test_cfg.get('mode') == 'slide'
        self.preprocessing = preprocessing
        self.threshold = threshold_of(model)
        self.eval()
        # Upstream computes these sizes with ``int()`` and ``if``: fixed in a graph.
        module: Any
        for module in self.modules():
            if hasattr(module, 'window_reverse'):
                module.window_reverse = partial(_merge, module.window_size)
            elif hasattr(module, 'get_pad_shape'):
                module.forward = partial(_pad, module)
            elif isinstance(module, Upsample) and not module.size:
                names = ('scale_factor', 'mode', 'align_corners')
                given = {name: getattr(module, name) for name in names}
                module.forward = partial(F.interpolate, **given)

    def forward(self, image: Tensor) -> Tensor:
        """Predict from images (B, channels, H, W).

        They are normalised, or as in the image file if this module normalises. Returns
        a segmentor's classes (B, H, W), int64, or a classifier's probabilities (B, C).
        """
        x = self.normalised(image) if self.preprocessing else image
        height, width = x.shape[-2:]
        x = self._padded(x)
        if not self.segments:
            logits = self.model(x, mode='tensor')
            multi_label = is_multi_label(getattr(self.model, 'head', None))
            return logits.sigmoid() if multi_label else logits.softmax(dim=1)
        logits = self._slide(x) if self.slides else self._logits(x)
        logits = logits[..., :height, :width]
        if self.threshold is None:
            return logits.argmax(dim=1)
        return (logits[:, 0].sigmoid() > self.threshold).long()

    def normalised(self, image: Tensor) -> Tensor:
        """Normalise as the data preprocessor does, channels in the network's order."""
        given, image = self.model.data_preprocessor, image.float()
        if given._enable_normalize:
            image = (image - given.mean) / given.std
        return image

    def require_open_size(self) -> None:
        """Raise ValueError if windows of the model are cut for one image size."""
        shifts = any(hasattr(module, 'shift_size') for module in self.modules())
        if self.slides or shifts:
            what = 'sliding windows (mode=slide)' if self.slides else 'windows (Swin)'
            raise ValueError(
                f'--dynamic all: {what} are cut for one image size: take --dynamic '
                'batch, and one file for each --shape.'
            )

    def _padded(self, x: Tensor) -> Tensor:
        """Pad below and on the right, as the data preprocessor does in testing."""
        given: Any = self.model.data_preprocessor
        if self.segments:
            how, value = given.test_cfg or {}, given.pad_val
            divisor, size = how.get('size_divisor'), how.get('size')
        else:
            divisor, size, value = given.pad_size_divisor, None, given.pad_value
        height, width = x.shape[-2:]
        if size:
            bottom, right = max(size[0] - height, 0), max(size[1] - width, 0)
        elif divisor and divisor > 1:
            bottom, right = -height % divisor, -width % divisor
        else:
            return x
        return F.pad(x, (0, right, 0, bottom), value=value)

    def _logits(self, x: Tensor) -> Tensor:
        """Return logits at the size of the input."""
        size = x.shape[-2:]
        meta = dict(img_shape=size, ori_shape=size, pad_shape=size)
        # One does where only sizes are read, and leaves the batch size open.
        head = self.model.decode_head
        count = x.shape[0] if classifies_masks(head) else 1
        return self.model.encode_decode(x, [meta] * count)

    def _slide(self, x: Tensor) -> Tensor:
        """Return the mean logits of windows, which run as one batch."""
        size = tuple(x.shape[-2:])
        of = self.model.test_cfg
        crop = [min(*pair) for pair in zip(of.crop_size, size, strict=True)]
        starts = [_starts(*each) for each in zip(crop, of.stride, size, strict=True)]
        places = [(top, left) for top in starts[0] for left in starts[1]]
        windows = [x[..., y : y + crop[0], z : z + crop[1]] for y, z in places]
        logits = self._logits(torch.cat(windows)).chunk(len(windows))
        total: Any = 0
        count = torch.zeros(1, 1, *size)
        for (top, left), each in zip(places, logits, strict=True):
            right, bottom = size[1] - left - crop[1], size[0] - top - crop[0]
            total = total + F.pad(each, (left, right, top, bottom))
            count[..., top : top + crop[0], left : left + crop[1]] += 1
        return total / count.to(x.device)


def _starts(crop: int, stride: int, size: int) -> list[int]:
    """Return where windows begin along one side; the last ends with the image."""
    steps = max(size - crop + stride - 1, 0) // stride + 1
    return [min(number * stride, size - crop) for number in range(steps)]


def _merge(
    own: int, windows: Tensor, height: int, width: int, size: int | None = None
) -> Tensor:
    """Merge a Swin's windows (B * N, size, size, C) into (B, height, width, C)."""
    size, channels = size or own, windows.shape[-1]
    x = windows.view(-1, height // size, width // size, size, size, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)


def _pad(own: Any, x: Tensor) -> Tensor:
    """Pad as mmcv's and mmseg's ``AdaptivePadding``, also by nothing."""
    sides = []
    pairs = zip(own.kernel_size, own.dilation, own.stride, strict=True)
    for size, (kernel, dilation, stride) in zip(x.shape[-2:], pairs, strict=True):
        extra = -size % stride + max((kernel - 1) * dilation + 1 - stride, 0)
        before = 0 if own.padding == 'corner' else extra // 2
        sides.append([before, extra - before])
    return F.pad(x, [*sides[1], *sides[0]])
