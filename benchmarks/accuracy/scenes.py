"""Fashion scenes in memory, and pictures of one article each to pretrain on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fashion import SOURCE, load
from fashion_scenes import Layout, make_scene
from torch import Tensor

SCENE = Layout(items=(1, 2), scale=(0.6, 0.95), angle=20, overlap=0.25)
PICTURE = Layout(items=(1, 1), scale=(0.6, 0.95), angle=20)
GROUND = dict(distractors=(0, 2), brightest=60)
COUNTS = {'validation': 300, 'test': 1000}
HELD_OUT = 1000
"""Pictures that pretraining is measured on."""


@dataclass(frozen=True)
class Scenes:
    """Scenes of shape (N, 3, size, size) in BGR, labels of shape (N, size, size)."""

    images: Tensor
    labels: Tensor


class SceneData:
    """Makes scenes and pictures, and keeps them.

    Args:
        source (Path): Folder with Fashion-MNIST's four files.
    """

    def __init__(self, source: Path = SOURCE) -> None:
        self.articles = {
            part: [
                data.images[data.labels == label, 0].numpy().astype(np.uint8)
                for label in range(10)
            ]
            for part, data in load(source).items()
        }
        self.made: dict[tuple, Scenes] = {}

    def scenes(self, part: str, count: int, size: int) -> Scenes:
        """The first scenes of a part, the same ones always.

        Args:
            part (str): 'training', 'validation' or 'test'.
            count (int): How many.
            size (int): Height and width.
        """
        return self._make(part, count, size, SCENE)

    def pictures(self, part: str, count: int, size: int) -> Scenes:
        """Pictures of one article each; labels of shape (N, ), 0 to 9.

        Args:
            part (str): 'training' or 'validation'.
            count (int): How many.
            size (int): Height and width.
        """
        made = self._make(part, count, size, PICTURE)
        # 1 + class where the article is, 0 around it.
        return Scenes(made.images, made.labels.amax((1, 2)) - 1)

    def _make(self, part: str, count: int, size: int, layout: Layout) -> Scenes:
        key = (part, count, size, layout)
        if key not in self.made:
            parts = ('training', 'validation', 'test')
            number = (layout.items[1], parts.index(part))
            pairs = [
                make_scene(
                    self.articles[part],
                    size,
                    np.random.default_rng((size, *number, i)),
                    layout,
                    **GROUND,
                )
                for i in range(count)
            ]
            images, labels = (
                torch.from_numpy(np.stack(x)) for x in zip(*pairs, strict=True)
            )
            self.made[key] = Scenes(images.permute(0, 3, 1, 2), labels.long())
        return self.made[key]
