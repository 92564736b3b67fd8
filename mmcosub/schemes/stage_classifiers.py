"""Light classifiers on the earlier stages of a backbone (ours).

Shapes: ``R`` rows, ``C`` channels, ``N`` tokens, ``H, W`` of a map.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmcosub.submodels import Site, evaluating


class StageClassifiers(nn.ModuleList):
    """One a stage: the mean over places, a norm, a linear layer.

    Args:
        channels (list[int]): Channels that each stage puts out.
        first (list[bool]): Whether they come before the places.
        num_classes (int): Number of classes.
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
        """For a classifier, behind some of its blocks.

        Args:
            model (CoTraining): The classifier.
            ends (Sequence[Module]): The blocks, see :func:`stage_ends`.

        Raises:
            ValueError: If there is none, or it cannot be told what they put out.
        """
        name = type(model.backbone).__name__
        if not ends:
            raise ValueError(
                f'{name} has one block, so no earlier part of it can learn. Set '
                'scheme.intermediate=0.'
            )
        size = _image_size(model.backbone)
        try:
            outputs = [_values(x) for x in _of_one_image(model.backbone, ends, size)]
        except Exception as error:  # whatever a backbone raises
            if next(model.backbone.parameters()).is_meta:
                raise  # work is counted without values, or else with them
            raise ValueError(
                f'What the stages of {name} put out cannot be told, as it does not run '
                f'on one image of {size} pixels ({error}). Set scheme.intermediate=0.'
            ) from error
        shapes = [tuple(x.shape[1:]) for x in outputs]
        first = [_channels_first(shape, size) for shape in shapes]
        if len(shapes) != len(ends) or None in first:
            raise ValueError(
                f'The stages of {name} put out {shapes}, where a list of tokens or a '
                'map each is expected, with other numbers of channels than of rows '
                'and columns. Set scheme.intermediate=0.'
            )
        head: Any = model.head if hasattr(model, 'head') else model.model
        if not hasattr(head, 'num_classes'):
            raise ValueError(
                f'{name} does not say how many classes it has (num_classes). Set '
                'scheme.intermediate=0.'
            )
        widths = [s[0] if f else s[-1] for s, f in zip(shapes, first, strict=True)]
        return cls(widths, [bool(f) for f in first], head.num_classes)

    def forward(self, features: Sequence[Any]) -> list[Tensor]:
        """Logits of shape (R, classes) each.

        Args:
            features (Sequence[Tensor | tuple]): What the stages put out, a tuple's
                first: maps of shape (R, C, H, W), or tokens of shape (R, N, C) or
                (R, H, W, C).
        """
        logits = []
        for classifier, first, x in zip(self, self.first, features, strict=True):
            x = _values(x)
            places = x.flatten(2).transpose(1, 2) if first else x.flatten(1, -2)
            logits.append(classifier(places.mean(dim=1)))
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


def _values(output: Any) -> Tensor:
    """Of what a block puts out, the values: MViT's has the map's size beside them."""
    return output[0] if isinstance(output, tuple | list) else output


def _channels_first(shape: tuple[int, ...], image: tuple[int, int]) -> bool | None:
    """Whether channels come before places; None where that cannot be told."""
    if len(shape) != 3:
        return False if len(shape) == 2 else None
    height, width = image  # maps have the image's proportions
    first = shape[1] * width == shape[2] * height
    last = shape[0] * width == shape[1] * height
    return None if first and last else first


def _of_one_image(
    backbone: nn.Module, blocks: Sequence[nn.Module], size: tuple[int, int]
) -> list[Any]:
    """What blocks put out in evaluation, in the order in which they run."""
    outputs: list[Any] = []

    def collect(module: nn.Module, args: Any, output: Any) -> None:
        outputs.append(output)

    convolutions = (m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    channels = getattr(next(convolutions, None), 'in_channels', 3)
    weight = next(backbone.parameters())
    handles = [block.register_forward_hook(collect) for block in blocks]
    try:
        with evaluating(backbone):  # BatchNorm statistics stay as they are
            backbone(weight.new_zeros(1, channels, *size))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _image_size(backbone: Any) -> tuple[int, int]:
    """Size of the images that a backbone is made for, 224 where it takes any."""
    for module in backbone.modules():
        size = getattr(module, 'img_size', None)
        if size:
            return (size, size) if isinstance(size, int) else (size[0], size[1])
    # timm's networks say what their weights were trained with.
    network = getattr(backbone, 'timm_model', backbone)
    size = getattr(network, 'default_cfg', {}).get('input_size', (3, 224, 224))
    return size[1], size[2]
