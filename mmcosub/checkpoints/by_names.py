"""Into a backbone of no known format: what has its names."""

from torch import nn

from .matching import CarryOver, compare, some
from .reading import State

# Where whole models, and trainings of them, keep the network.
_PREFIXES = ('', 'backbone.', 'model.', 'encoder.', 'teacher.', 'student.')


def load_by_names(
    backbone: nn.Module,
    filename: str,
    weights: State,
    min_match: float | None = None,
) -> CarryOver:
    """Load the weights that have a backbone's names, behind the prefix that fits best.

    Args:
        backbone (nn.Module): The backbone, changed in place.
        filename (str): The checkpoint file, for messages.
        weights (dict[str, Tensor]): Its weights.
        min_match (float, optional): Share of the backbone's weights in [0, 1] that
            must get a value. Defaults to None: 0.5, as pretrained networks lack parts
            of some segmentation backbones.

    Returns:
        CarryOver: What became of the weights.

    Raises:
        ValueError: If fewer weights match. The backbone is then unchanged.
    """
    min_match = 0.5 if min_match is None else min_match
    own, kind = backbone.state_dict(), type(backbone).__name__
    parts = [
        {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        for start in _PREFIXES
    ]
    state = max(parts, key=lambda part: len(own.keys() & part.keys()))
    report = CarryOver(filename, 'by names', kind)
    compare(report, state, own)
    if report.match < min_match:
        raise ValueError(
            f'{report}\nThat is {report.match:.0%}, less than {min_match:.0%}. The '
            f'formats of {kind} are not known, so names have to be the same: the '
            f'checkpoint has {some(sorted(state)[:4])}, the backbone '
            f'{some(sorted(own)[:4])}. Convert it, or lower carry_over.min_match '
            '(--cfg-options carry_over.min_match=0.2) if it is meant.'
        )
    backbone.load_state_dict({k: state[k] for k in report.matched}, strict=False)
    return report
