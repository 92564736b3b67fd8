"""Channel dropout in place of submodels, to compare with (UniMatch V2)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Split = Callable[[nn.Module, Any, int], Sequence[Tensor]]

KEPT = 0.5
"""Fraction of images whose channels are all kept."""


class ChannelDropout:
    """Loss on unlabelled images with two students of complementary channels.

    Half of the channels of each feature map of the full network's backbone are set to
    0 for one student and the others for the other one; what is left is doubled. Half of
    the images keep all channels. That is our reading of UniMatch V2 (arXiv 2410.10777),
    but for one thing: there, each student has a strong image of its own, which costs a
    second forward of the backbone.

    Args:
        loss (Any): Loss of the full network as student, which this one stands for.
        seed (int): Seed of the channels.
    """

    def __init__(self, loss: Any, seed: int) -> None:
        self.loss = loss
        self.generator = torch.Generator().manual_seed(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loss, name)

    def __call__(
        self, training: Any, weak: Any, strong: Tensor, split: Split, *valid: Any
    ) -> Tensor:
        """Return the weighted loss; see ``mmcosub.schemes.unlabelled_loss``."""

        def read(network: nn.Module, features: Any, views: int) -> Sequence[Tensor]:
            if network is not training.network:  # the averaged teacher
                return split(network, features, views)
            return split(network, self.dropped(features), 2)

        return self.loss(training, weak, strong, read, *valid)

    def dropped(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the features of both students, of shape (2U, C, H, W) each.

        Args:
            features (Sequence[Tensor]): Of shape (U, C, H, W) each.
        """
        images = len(features[0])
        kept = torch.rand(images, generator=self.generator).argsort() < KEPT * images
        both = []
        for x in features:
            first = torch.rand(x.shape[:2], generator=self.generator).round() * 2
            masks = torch.stack([first, 2 - first])  # (2, U, C)
            masks[:, kept] = 1
            masks = masks.to(x)[..., None, None]
            both.append((masks * x).flatten(0, 1))
        return tuple(both)
