"""What became of the weights of a checkpoint and of those of a backbone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from .adapt import is_computed
from .formats import plain_name
from .reading import State

# What a network may have more than the pretrained one, without anything being wrong:
# norms of the feature maps that it puts out, tokens that were added.
_EXPECTED = re.compile(
    r'norm\d?\.(weight|bias)|ln1\.(weight|bias)|cls_token|dist_token|.*num_batches_tracked'
)
# And less: what comes behind the features.
_BEHIND = re.compile(
    r'(head|head_dist|fc|fc_norm|pooler|mask_token|dist_token|cls_token)(\.|$)|'
    r'(norm\d?|ln\d|head\.norm)\.(weight|bias)$|ca_layers|cls_attn_blocks'
)


@dataclass
class CarryOver:
    """What became of the weights of a checkpoint and of those of a backbone.

    Args:
        checkpoint (str): The file.
        source (str): Format of its weights.
        target (str): Format of the backbone's.
        matched (list[str]): Names in the backbone that got their values.
        done (list[str]): What was resized, set or folded, in words.
        expected (list[str]): Names that got none, as is to be expected.
        missing (list[str]): Names that got none and should have.
        misshapen (list[str]): Names whose shapes differ, with both shapes.
        unused (list[str]): Names in the checkpoint that have no place.
    """

    checkpoint: str
    source: str
    target: str
    matched: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def match(self) -> float:
        """Share of the weights that should have got their values and did."""
        lost = len(self.missing) + len(self.misshapen)
        return len(self.matched) / max(len(self.matched) + lost, 1)

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.misshapen)
        lines = [
            f'Backbone from {self.checkpoint} ({self.source} -> {self.target}): '
            f'{len(self.matched)} of {total} weights.'
        ]
        for what, names in (
            ('Changed', self.done),
            ('Missing', self.missing),
            ('Of another shape', self.misshapen),
            ('New here, as expected', self.expected),
            ('Not used', self.unused),
        ):
            if names:
                lines.append(f'  {what}: {some(names)}')
        return '\n'.join(lines)


def compare(report: CarryOver, state: State, own: State) -> None:
    """Note in a report which of a backbone's weights there are.

    Args:
        report (CarryOver): The report.
        state (dict[str, Tensor]): What there is, by the backbone's names.
        own (dict[str, Tensor]): The backbone's weights.
    """
    for name, value in own.items():
        if is_computed(name):
            continue
        if name not in state:
            expected = _EXPECTED.fullmatch(plain_name(name))
            (report.expected if expected else report.missing).append(name)
        elif state[name].shape != value.shape:
            shapes = f'{tuple(state[name].shape)}, not {tuple(value.shape)}'
            report.misshapen.append(f'{name} {shapes}')
        else:
            report.matched.append(name)
    report.unused = [k for k in state if k not in own and not _BEHIND.match(k)]


def some(names: Iterable[str]) -> str:
    """The first of some names, and how many there are."""
    names = list(names)
    more = f', ... ({len(names)} in all)' if len(names) > 5 else ''
    return ', '.join(names[:5]) + more
