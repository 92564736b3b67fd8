"""Report of which weights of a checkpoint were loaded into a backbone.

A part is the outermost module that the other side lacks entirely, for example
``layer3.6`` when a ResNet-50 loads a ResNet-101.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import accumulate

from .formats.table import plain_name
from .weights import State, without_computed

BY_NAMES = 'by names'
"""Source of weights for a backbone of unknown format."""

# Matched at the root of a network only: `backbone.multihead_attn` is no head.
_HEADS = re.compile(r'((\w+_)?heads?(_\w+)?|fc|classif\w*|last_linear|logits)(\.|$)')
# Modules after the features: decoders of masked images, poolers, class attention of
# XCiT and BEiT v2, SAM's neck, HRNet's classifiers.
_BEHIND = re.compile(
    r'(\w*decoder\w*|\w*mask_token|pooler|attn_pool|fc_norm|neck|ca_layers|'
    r'cls_attn_blocks|cls_pt_layers|incre_modules|downsamp_modules|final_layer|'
    r'last_layer)(\.|$)'
)
# Norms of feature maps, and tokens; their positions are reported separately.
_ENDS = re.compile(
    r'((norm|ln)\d?|(local_)?cls_norm|head\.norm)\.(weight|bias)|(cls|dist)_token'
)
# A numbered module with numbered submodules: `stages.3`, `layer4`, but not `layers.3`
# of a ViT.
_STAGE = re.compile(r'([a-z_]+)\.?(\d+)(?=\.([a-z]?\d+|\w+\.\d+)\.)')


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
        dropped (list[str]): Parts not used: heads, ends of the network, allowed ones.
        unused (list[str]): Weights inside the network that must not stay unused.
    """

    checkpoint: str
    source: str
    target: str
    matched: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
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
            ('Not used (allowed, heads, ends of the network)', self.dropped),
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
    dropped, inside = sort_leftovers(
        rest, plain_names, cut, strangers=report.source == BY_NAMES
    )
    allowed = [name for name in inside if is_allowed(name, allow_unused)]
    report.dropped = allowed + dropped
    report.unused = [name for name in inside if name not in allowed]


def is_head(name: str) -> bool:
    """Return True for weights of a head, judged by the name in the whole network."""
    return bool(_HEADS.match(name))


def is_end(name: str) -> bool:
    """Return True for norms and tokens that a network can do without."""
    return bool(_ENDS.fullmatch(name))


def parts(names: Iterable[str], others: Iterable[str]) -> dict[str, list[str]]:
    """Group names by their outermost module that is missing entirely."""
    known = {start for name in others for start in _starts(name)}
    grouped: dict[str, list[str]] = {}
    for name in names:
        part = next((start for start in _starts(name) if start not in known), name)
        grouped.setdefault(part, []).append(name)
    return grouped


def sort_leftovers(
    names: Iterable[str],
    own: Collection[str],
    cut: Collection[str] = (),
    strangers: bool = False,
) -> tuple[list[str], list[str]]:
    """Separate parts that can be dropped from weights inside a network.

    Dropped are heads, norms, tokens, and stages after the last one. ``names`` are those
    in the checkpoint that the network lacks, ``own`` those of the network, ``cut``
    modules after the last feature map that it has removed, as timm does. ``strangers``
    also drops unknown outermost modules, for networks of unknown architecture.
    """
    stages = {(m[1], int(m[2])) for m in map(_STAGE.match, own) if m}
    last = {kind: max(i for k, i in stages if k == kind) for kind, _ in stages}
    roots = {name.partition('.')[0] for name in own}
    dropped: list[str] = []
    inside: list[str] = []
    for part, weights in parts(names, own).items():
        stage = next(filter(None, map(_STAGE.match, weights)), None)
        # Some networks keep the downsampling before a stage in the previous stage.
        leads = re.fullmatch(r'([a-z_]+)\.(\d+)\.downsample', part)
        can_go = (
            _HEADS.match(part)
            or _BEHIND.match(part)
            or all(map(is_end, weights))
            or part in cut
            or (stage and stage[0] == part and int(stage[2]) > last.get(stage[1], 99))
            or (leads and int(leads[2]) == last.get(leads[1]))
            or (part == 'norm_pre' and 'stages' in roots)  # ConvNeXt's last norm
            or (strangers and '.' in weights[0] and part.partition('.')[0] not in roots)
        )
        if can_go:
            dropped.append(part)
        else:
            inside += weights
    return dropped, inside


def missing_blocks(missing: Iterable[str], there: Collection[str]) -> list[str]:
    """Return numbered modules without weights whose neighbours have some."""
    lists = {s.rpartition('.')[0] for k in there for s in _starts(k) if s[-1].isdigit()}
    return [
        part
        for part in parts(missing, there)
        if part.rpartition('.')[2].isdigit() and part.rpartition('.')[0] in lists
    ]


def is_allowed(name: str, patterns: Iterable[str]) -> bool:
    """Return True if a pattern matches a weight or one of its modules."""
    return any(
        fnmatchcase(name, each) or fnmatchcase(name, f'{each}.*') for each in patterns
    )


def as_patterns(part_names: Iterable[str]) -> list[str]:
    """Return patterns that allow the parts, merged if they differ in numbers."""
    return sorted({re.sub(r'(?<=\.)\d+(?=\.|$)', '*', part) for part in part_names})


def _starts(name: str) -> list[str]:
    return list(accumulate(name.split('.'), '{}.{}'.format))


def some(names: Iterable[str]) -> str:
    """Return the first few names and their total number, as text."""
    names = list(names)
    more = f', ... ({len(names)} in all)' if len(names) > 5 else ''
    return ', '.join(names[:5]) + more
