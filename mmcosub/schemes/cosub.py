from collections.abc import Sequence
from typing import Any

from mmcosub.registry import SCHEMES

from .base import Scheme, Teaching


@SCHEMES.register_module()
class Cosub(Scheme):
    r"""Submodel co-training.

    Two submodels of one network see every image; each learns from the label and from
    the other's prediction. With :math:`z_1, z_2` their logits and :math:`w` the weight:

    .. math::
        \frac12 \sum_i [(1 - w)\,\ell(z_i, y) + w\,\ell_{soft}(z_i, z_{3-i})]

    From `Co-training 2^L Submodels for Visual Recognition
    <https://arxiv.org/abs/2212.04884>`_, whose code has :math:`w = 0.5`, the binary
    cross-entropy and no temperature. Inside a segmentation training it is ours: label
    loss by the decode head, soft loss at every pixel that has a label.

    Args:
        weight (float): Co-training weight :math:`w` in [0, 1]. Defaults to 0.5.
        **kwargs: Arguments of :class:`Scheme`.

    Raises:
        ValueError: If the weight is not in [0, 1].
    """

    def __init__(self, weight: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= weight <= 1:
            raise ValueError(f'The co-training weight must be in [0, 1], not {weight}.')
        self.weight = weight

    @property
    def label_weights(self) -> Sequence[float]:
        """See :class:`Scheme`."""
        return [(1 - self.weight * self.ramp) / 2] * 2

    @property
    def teachings(self) -> Sequence[Teaching]:
        """See :class:`Scheme`."""
        weight = self.weight * self.ramp / 2
        return [Teaching(0, 1, weight), Teaching(1, 0, weight)]
