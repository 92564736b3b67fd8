"""Light classifiers on the earlier stages of a backbone (not in the paper).

Shapes: ``R`` rows, ``C`` channels, ``N`` tokens, ``H, W`` of a map.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmcosub.submodels import Site, evaluating, outputs_of


class StageClassifiers(nn.ModuleList):
    """One classifier per stage: mean over positions, LayerNorm, linear layer.

    ``first`` is True for each stage whose channels come before positions.
    """

    def __init__(
        self, channels: list[int], first: list[bool], num_classes: int
    ) -> None:
        super().__init__(
            nn.Sequential(nn.LayerNorm(c), nn.Linear(c, num_classes)) for c in channels
        )
        self.first = first

    @classmethod
    def of(cls, model: Any, ends: Sequence[nn.Module]) -> 'StageClassifiers':
        """Build the classifiers for a model, one after each block of ``ends``.

        Raises:
            ValueError: If there is no block, or its output format is not recognised.
        """
        name = type(model.backbone).__name__
        remedy = 'Set scheme.intermediate=0.'
        if not ends:
            raise ValueError(
                f'{name} has one block, so no earlier part of it can learn. {remedy}'
            )
        head: Any = model.head if hasattr(model, 'head') else model.model
        if not hasattr(head, 'num_classes'):
            raise ValueError(f'{name} has no num_classes. {remedy}')
        size = _image_size(model.backbone)
        try:
            outputs = _of_one_image(model.backbone, ends, size)
        except Exception as error:  # any error of a backbone
            if next(model.backbone.parameters()).is_meta:
                raise  # the caller then counts FLOPs with real tensors
            raise ValueError(
                f'The output shapes of the stages of {name} are not known, as it does '
                f'not run on one image of {size} pixels ({error}). {remedy}'
            ) from error
        shapes = [tuple(x.shape[1:]) for x in outputs]
        first = [_channels_first(shape, size) for shape in shapes]
        if len(shapes) != len(ends) or None in first:
            raise ValueError(
                f'The stages of {name} return outputs of shapes {shapes}. Expected are '
                'tokens or maps, with numbers of channels that differ from those of '
                f'rows and columns. {remedy}'
            )
        widths = [s[0] if f else s[-1] for s, f in zip(shapes, first, strict=True)]
        return cls(widths, [bool(f) for f in first], head.num_classes)

    def forward(self, features: Sequence[Any]) -> list[Tensor]:
        """Return logits (R, classes) for each stage's output.

        Of tuples the first is taken: maps of shape (R, C, H, W), or tokens of shape
        (R, N, C) or (R, H, W, C).
        """
        logits = []
        for classifier, first, x in zip(self, self.first, features, strict=True):
            x = _values(x)
            places = x.flatten(2).transpose(1, 2) if first else x.flatten(1, -2)
            logits.append(classifier(places.mean(dim=1)))
        return logits


def stage_ends(sites: Sequence[Site]) -> list[nn.Module]:
    """Return the last block of every stage but the last one.

    A network without stages is divided into thirds.
    """
    last = {site.stage: site.block for site in sites}
    if len(last) > 1:
        return list(last.values())[:-1]
    blocks = list(dict.fromkeys(site.block for site in sites))
    thirds = {round(len(blocks) * i / 3) for i in (1, 2)}
    return [blocks[i - 1] for i in sorted(thirds) if 0 < i < len(blocks)]


def _values(output: Any) -> Tensor:
    """Return a block's output without extra values, such as the size in MViT."""
    return output[0] if isinstance(output, tuple | list) else output


def _channels_first(shape: tuple[int, ...], image: tuple[int, int]) -> bool | None:
    """Return True if channels come before positions, None if ambiguous."""
    if len(shape) != 3:
        return False if len(shape) == 2 else None
    height, width = image  # maps have the image's proportions
    first = shape[1] * width == shape[2] * height
    last = shape[0] * width == shape[1] * height
    return None if first and last else first


def _of_one_image(
    backbone: nn.Module, blocks: Sequence[nn.Module], size: tuple[int, int]
) -> list[Tensor]:
    """Run one image in evaluation mode and return the outputs of blocks in order."""
    convolutions = (m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    channels = getattr(next(convolutions, None), 'in_channels', 3)
    with evaluating(backbone), outputs_of(blocks) as outputs:
        backbone(next(backbone.parameters()).new_zeros(1, channels, *size))
    return [_values(output) for _, output in outputs]


def _image_size(backbone: Any) -> tuple[int, int]:
    """Return the image size that a backbone is made for, 224 if it accepts any."""
    for module in backbone.modules():
        size = getattr(module, 'img_size', None)
        if size:
            return (size, size) if isinstance(size, int) else (size[0], size[1])
    # The size that timm's weights were trained with.
    network = getattr(backbone, 'timm_model', backbone)
    size = getattr(network, 'default_cfg', {}).get('input_size', (3, 224, 224))
    return size[1], size[2]
