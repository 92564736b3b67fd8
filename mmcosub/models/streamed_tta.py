import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.structures import SegDataSample
from torch import Tensor

from mmcosub.registry import MODELS

_LEAST = 1e-12
"""Where a mean probability is below, its logarithm is that of this."""


@MODELS.register_module()
class StreamedSegTTAModel(SegTTAModel):
    """mmseg's ``SegTTAModel`` with one version of an image in memory at a time.

    Upstream keeps the logits of all versions at the size of the original image: 14 GiB
    for a photograph of 2 megapixels, 150 classes and 12 versions (six scales, flipped
    or not). This model adds each version's probabilities to a running sum and frees its
    logits. Arguments and predictions are the same, except for heads with one output
    channel: their ``seg_logits`` are probabilities already, and upstream applies the
    sigmoid twice.
    """

    def test_step(self, data: dict[str, list]) -> list[SegDataSample]:
        """Predict from all versions of each image, a batch of ``TestTimeAug``.

        The results have the prediction, of shape (H, W), and ``seg_logits`` of the
        averaged probabilities.
        """
        versions = list(zip(*data.values(), strict=True))
        if len(versions) == 1:  # softmax may make neighbouring numbers equal
            return self.module.test_step(dict(zip(data, versions[0], strict=True)))
        sums: list[Tensor] = []
        for count, version in enumerate(versions, start=1):
            samples = self.module.test_step(dict(zip(data, version, strict=True)))
            for i, sample in enumerate(samples):
                logits = sample.seg_logits.data
                if count == 1:
                    dtype = torch.promote_types(logits.dtype, torch.float32)
                    sums.append(torch.zeros_like(logits, dtype=dtype))
                own = logits.to(sums[i])
                sums[i] += own.softmax(0) if self.module.out_channels > 1 else own
                del sample.seg_logits, logits, own
            if count == 1:
                first = samples
        return [
            self._prediction(sample, total.div_(count))
            for sample, total in zip(first, sums, strict=True)
        ]

    def _prediction(self, first: SegDataSample, mean: Tensor) -> SegDataSample:
        if self.module.out_channels > 1:
            predicted = mean.argmax(0)
            mean = mean.clamp_min_(_LEAST).log_()  # its softmax is the mean again
        else:
            threshold = self.module.decode_head.threshold
            predicted = (mean > threshold).to(mean)
        first.pred_sem_seg = PixelData(data=predicted)
        first.seg_logits = PixelData(data=mean)
        return first
