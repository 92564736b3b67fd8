"""Report of which weights of a checkpoint were loaded into a backbone."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from .formats.table import plain_name
from .leftovers import is_allowed, is_end, is_head, sort_leftovers
from .weights import State, without_computed

BY_NAMES = 'by names'
"""Source of weights for a backbone of unknown format."""


@dataclass
class LoadReport:
    """Report of which weights of a checkpoint were loaded into a backbone.

    Args:
        checkpoint (str): The file.
        source (str): Format of its weights.
        target (str): Format of the backbone's.
        matched (list[str]): Names in the backbone that were loaded.
        done (list[str]): Descriptions of resized, initialised or folded weights.
        expected (list[str]): Names without a value, as expected (heads).
        missing (list[str]): Names without a value that need one.
        misshapen (list[str]): Names with different shapes, both shapes included.
        heads (list[str]): Parts of the checkpoint after the features.
        ends (list[str]): Parts that the backbone lacks at its ends.
        allowed (list[str]): Weights inside the network that may stay unused.
        unused (list[str]): Weights inside the network that may not.
    """

    checkpoint: str
    source: str
    target: str
    matched: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def match(self) -> float:
        """Fraction of the expected weights that were loaded."""
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
            ('Heads, not used', self.heads),
            ('At the ends of the network, not used', self.ends),
            ('Inside the network, not used but allowed', self.allowed),
            ('Inside the network, not used', self.unused),
        ):
            if names:
                lines.append(f'  {what}: {some(names)}')
        return '\n'.join(lines)


def compare(
    report: LoadReport,
    state: State,
    own: State,
    allow_unused: Collection[str] = (),
    cut: Collection[str] = (),
) -> None:
    """Record which of a backbone's weights were found in ``state``.

    ``allow_unused`` has patterns of weights inside the network that may be unused,
    ``cut`` the modules that the backbone has removed after its last feature map.
    """
    for name, value in without_computed(own).items():
        given, plain = state.get(name), plain_name(name)
        if given is None:
            new = is_end(plain) or is_head(plain) or plain.endswith('batches_tracked')
            (report.expected if new else report.missing).append(name)
        elif given.shape != value.shape and is_head(plain):
            report.expected.append(name)
        elif given.shape != value.shape:
            shapes = f'{tuple(given.shape)}, not {tuple(value.shape)}'
            report.misshapen.append(f'{name} {shapes}')
        elif given.is_floating_point() != value.is_floating_point():
            report.misshapen.append(f'{name} {given.dtype}, not {value.dtype}')
        else:
            report.matched.append(name)
    # Tied weights have two names; a .safetensors file stores one.
    tied = {own[name].data_ptr() for name in report.matched if own[name].numel() > 1}
    report.missing = [n for n in report.missing if own[n].data_ptr() not in tied]
    rest = {plain_name(k): k for k in without_computed(state) if k not in own}
    plain_names = {plain_name(name) for name in own}
    report.heads, report.ends, inside = sort_leftovers(
        rest, plain_names, cut, strangers=report.source == BY_NAMES
    )
    for name in inside:
        allowed = is_allowed(name, allow_unused)
        (report.allowed if allowed else report.unused).append(name)


def some(names: Iterable[str]) -> str:
    """Return the first few names and their total number, as text."""
    names = list(names)
    more = f', ... ({len(names)} in all)' if len(names) > 5 else ''
    return ', '.join(names[:5]) + more
