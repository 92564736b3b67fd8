"""Light classifiers on the earlier stages of a backbone (ours)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmcosub.submodels import Site


class StageClassifiers(nn.ModuleList):
    """One a stage: the mean over places, a norm, a linear layer.

    Args:
        channels (list[int]): Channels that each stage puts out.
        num_classes (int): Number of classes.
    """

    def __init__(self, channels: list[int], num_classes: int) -> None:
        super().__init__(
            nn.Sequential(nn.LayerNorm(c), nn.Linear(c, num_classes)) for c in channels
        )

    @classmethod
    def of(cls, model: Any) -> 'StageClassifiers':
        """For a classifier, on all stages but the last.

        Args:
            model (CoTraining): The classifier.

        Raises:
            ValueError: If it has one block only.
        """
        ends = stage_ends(model.sites)
        if not ends:
            raise ValueError(
                f'{type(model.backbone).__name__} has one block, so no earlier part '
                'of it can learn. Set scheme.intermediate=0.'
            )
        head: Any = model.head if hasattr(model, 'head') else model.model
        return cls([_channels(block) for block in ends], head.num_classes)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits of shape (R, classes) each.

        Args:
            features (Sequence[Tensor]): What the stages put out: maps of shape
                (R, C, H, W), or tokens of shape (R, N, C) or (R, H, W, C).
        """
        logits = []
        for classifier, x in zip(self, features, strict=True):
            width = next(classifier.parameters()).numel()  # the norm's
            if x.ndim == 4 and x.shape[1] == width:
                x = x.flatten(2).transpose(1, 2)
            logits.append(classifier(x.flatten(1, -2).mean(dim=1)))
        return logits


def stage_ends(sites: Sequence[Site]) -> list[nn.Module]:
    """Last block of every stage but the last one.

    A network without stages is taken as having three, of as equal a number of blocks
    as can be.

    Args:
        sites (Sequence[Site]): The backbone's branches.
    """
    last: dict[str, nn.Module] = {}
    for site in sites:
        last[site.stage] = site.block
    if len(last) > 1:
        return list(last.values())[:-1]
    blocks = list(dict.fromkeys(site.block for site in sites))
    thirds = {round(len(blocks) * i / 3) for i in (1, 2)}
    return [blocks[i - 1] for i in sorted(thirds) if 0 < i < len(blocks)]


def _channels(block: Any) -> int:
    """Channels that a known block puts out."""
    for module in block.modules():
        if isinstance(module, nn.LayerNorm):
            return int(module.normalized_shape[0])
    if hasattr(block, 'out_channels'):
        return int(block.out_channels)
    return int(block.conv3.conv.out_channels)  # RegNet's
