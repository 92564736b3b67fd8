from collections.abc import Sequence

from .base import SCHEMES, Scheme
from .teaching import Teaching


@SCHEMES.register_module()
class StochasticDepth(Scheme):
    """Scheme with one view: ordinary training with stochastic depth, but faster.

    It computes the same as the unmodified model with DropPath, but only on the rows
    that keep a branch. `Deep Networks with Stochastic Depth
    <https://arxiv.org/abs/1603.09382>`_.

    Arguments are those of :class:`Scheme`.
    """

    @property
    def label_weights(self) -> Sequence[float]:
        """See :class:`Scheme`."""
        return [1.0]

    @property
    def teachings(self) -> Sequence[Teaching]:
        """See :class:`Scheme`."""
        return []

    def check(self, sites: Sequence) -> None:
        """See :class:`Scheme`. A rate of 0 is valid too."""
