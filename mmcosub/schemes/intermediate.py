"""Mutual distillation between the heads of one network (not in the paper).

Shapes: ``R`` rows, ``C`` channels, ``N`` tokens, ``H, W`` of a map.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.submodels import Site, evaluating, outputs_of

from .extras import Objective
from .step import Step


class IntermediateConsistency(Objective):
    """Distillation to the output and earlier heads, each from the mean of the others.

    The mean is of logits, as in Song and Chai's collaborative learning (arXiv
    1805.11761). In segmentation, the earlier heads are the auxiliary heads with the
    same classes (not STDC's boundary head); in classification, light heads on the
    earlier stages, which also learn from the label: ``label_share`` is its fraction in
    their losses.
    """

    def __init__(self, weight: float, temperature: float, label_share: float) -> None:
        super().__init__(weight)
        self.temperature = temperature
        self.label_share = label_share
        self._heads: list[str] = []
        self._ends: list[nn.Module] = []

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        if not hasattr(model, 'decode_head'):
            self._heads, self._ends = ['head'], stage_ends(model.sites)
            return {'stage_classifiers': StageClassifiers.of(model, self._ends)}
        self._heads, self._ends = model.heads_alike(), []
        if len(self._heads) < 2:
            raise ValueError(
                'Intermediate consistency needs an auxiliary head, or an earlier one '
                'of a cascade, with the classes of the main head at every pixel, and '
                'the model has none. Set model.auxiliary_head, or '
                'scheme.intermediate=0.'
            )
        return {}

    def taps(self, model: Any) -> list[nn.Module]:
        return self._ends

    def losses(self, step: Step) -> dict[str, Tensor]:
        # Auxiliary heads do not run if no view sees a label.
        logits: dict[str, Sequence[Tensor]] = {
            name: z for name in self._heads if (z := step.of_pass(name))
        }
        losses: dict[str, Tensor] = {}
        factor = self.weight * step.scheme.ramp
        if step.tapped:
            heads = step.model.extras['stage_classifiers'](step.tapped)
            light = {f'stage{i}': z.chunk(len(step.views)) for i, z in enumerate(heads)}
            losses['loss_stages'] = self._label_loss(step, light)
            factor *= 1 - self.label_share
            logits.update(light)
        if len(logits) > 1:
            losses['loss_heads'] = factor * self._distillation_loss(step, logits)
        return losses

    def _label_loss(self, step: Step, light: Mapping[str, Sequence[Tensor]]) -> Tensor:
        assert step.label_loss is not None
        weights = step.scheme.label_weights
        terms = [
            weights[v] * step.label_loss(z)
            for of_views in light.values()
            for v, z in zip(step.views, of_views, strict=True)
        ]
        # Mean over the light heads and the output, whose label loss is the model's.
        fraction = self.label_share / (len(light) + 1)
        return self.weight * fraction * torch.stack(terms).sum()

    def _distillation_loss(
        self, step: Step, logits: Mapping[str, Sequence[Tensor]]
    ) -> Tensor:
        """Return the mean distillation loss over views and heads."""
        terms = []
        for of_view in zip(*logits.values(), strict=True):
            for i, (name, student) in enumerate(zip(logits, of_view, strict=True)):
                others = [
                    _resized(z.detach(), student.shape[2:])
                    for k, z in enumerate(of_view)
                    if k != i
                ]
                target = torch.stack(others).mean(dim=0)
                loss = step.scheme.soft_loss(student, target, self.temperature)
                terms.append(step.mean(name, loss))
        return torch.stack(terms).mean()


def _resized(values: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(values.shape[2:]) == tuple(size):
        return values
    return nn.functional.interpolate(values, tuple(size), mode='bilinear')


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
        """Build the classifiers of a model, one after each block of ``ends``.

        Raises if channels and positions of an output cannot be told apart.
        """
        name, remedy = type(model.backbone).__name__, 'Set scheme.intermediate=0.'
        if not ends:
            raise ValueError(
                f'{name} has one block, so no earlier part of it can learn. {remedy}'
            )
        size = _image_size(model.backbone)
        try:
            outputs, result = _of_one_image(model.backbone, ends, size)
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
        if hasattr(model, 'head'):
            return cls(widths, [bool(f) for f in first], model.head.num_classes)
        (logits,) = model.read(result, auxiliary=False).values()  # of a CoTrainer
        if logits.ndim > 2:
            raise ValueError(f'{name} is no classifier of images. {remedy}')
        return cls(widths, [bool(f) for f in first], logits.shape[1])

    def forward(self, features: Sequence[Any]) -> list[Tensor]:
        """Return logits (R, classes) for each stage's output, the first of a tuple.

        Outputs are maps (R, C, H, W) or tokens (R, N, C) or (R, H, W, C).
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
) -> tuple[list[Tensor], Any]:
    """Run one image in evaluation mode; return outputs of blocks and the network."""
    convolutions = (m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    channels = getattr(next(convolutions, None), 'in_channels', 3)
    with evaluating(backbone), outputs_of(blocks) as outputs:
        result = backbone(next(backbone.parameters()).new_zeros(1, channels, *size))
    return [_values(output) for _, output in outputs], result


def _image_size(backbone: Any) -> tuple[int, int]:
    """Return the image size that a backbone is made for, 224 if it accepts any."""
    for module in backbone.modules():
        if size := getattr(module, 'img_size', None):
            return (size, size) if isinstance(size, int) else (size[0], size[1])
    # The size that timm's weights were trained with.
    network = getattr(backbone, 'timm_model', backbone)
    size = getattr(network, 'default_cfg', {}).get('input_size', (3, 224, 224))
    return size[1], size[2]
