"""Co-training of heads that classify masks (MaskFormer, Mask2Former).

Shapes: ``V`` views, ``B`` images, ``Q`` queries, ``C`` classes, ``H, W`` of the masks.
"""

from typing import Any

import torch
from mmseg.utils import SampleList
from torch import Tensor, nn

_HEADS = {'MaskFormerHead', 'Mask2FormerHead'}


class MaskClassification:
    r"""Forward, label loss and logits of a head that classifies masks.

    The label loss is the head's own matching loss, view by view. Distillation (**not in
    the paper**) uses the class scores of each pixel,

    .. math:: s_c = \sum_q softmax(z_q)_c \, sigmoid(m_q),

    of the last decoder layer, without the class "no object", at the resolution of the
    masks. Their logarithms serve as logits, so that a softmax makes the scores of a
    pixel sum to 1.
    """

    @staticmethod
    def is_head(module: nn.Module) -> bool:
        """Return True for mmseg's heads that classify masks.

        Args:
            module (nn.Module): A decode head.
        """
        return any(cls.__name__ in _HEADS for cls in type(module).__mro__)

    @staticmethod
    def run(module: Any, features: Any, data_samples: SampleList) -> Any:
        """Return class scores and masks of every decoder layer.

        Args:
            module (nn.Module): The head.
            features (tuple[Tensor]): Feature maps with V * B rows.
            data_samples (list[SegDataSample]): The label of each row.

        Returns:
            tuple: Lists of tensors of shapes (V * B, Q, C + 1) and (V * B, Q, H, W).
        """
        classes, masks = module(features, data_samples)
        return list(classes), list(masks)

    @staticmethod
    def label_losses(
        module: Any, output: Any, data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Return the head's matching losses of one view.

        Args:
            module (nn.Module): The head.
            output (tuple): Class scores and masks of the view, by decoder layer.
            data_samples (list[SegDataSample]): Labels of the B images.
        """
        instances, metas = module._seg_data_to_instance_data(data_samples)
        return module.loss_by_feat(*output, instances, metas)

    @staticmethod
    def logits(output: Any) -> Tensor:
        """Return logarithms of the scores of each pixel, of shape (B, C, H, W).

        Args:
            output (tuple): Class scores and masks of one view, by decoder layer.
        """
        classes, masks = output[0][-1], output[1][-1]
        dtype = torch.promote_types(classes.dtype, torch.float32)
        scores = torch.einsum(
            'bqc,bqhw->bchw',
            classes.to(dtype).softmax(dim=-1)[..., :-1],
            masks.to(dtype).sigmoid(),
        )
        return scores.clamp_min(torch.finfo(dtype).tiny).log()
