"""Missing and unexpected weights, sorted into heads and parts of the backbone.

A part is the outermost module that the other side lacks entirely, for example
``layer3.6`` when a ResNet-50 loads a ResNet-101.
"""

import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from itertools import accumulate

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
) -> tuple[list[str], list[str], list[str]]:
    """Separate heads and optional ends from inner parts of a network.

    ``names`` are plain names in the checkpoint that the network lacks, ``own`` those of
    the network, ``cut`` modules after the last feature map that it has removed, as timm
    does. ``strangers`` counts unknown outermost modules as ends, for networks of
    unknown architecture.

    Returns:
        tuple: Heads and parts after the features; parts at the ends (norms, tokens,
        stages after the last one); names of weights inside the network.
    """
    stages = {(m[1], int(m[2])) for m in map(_STAGE.match, own) if m}
    last = {kind: max(i for k, i in stages if k == kind) for kind, _ in stages}
    roots = {name.partition('.')[0] for name in own}
    heads: list[str] = []
    ends: list[str] = []
    inside: list[str] = []
    for part, weights in parts(names, own).items():
        stage = next(filter(None, map(_STAGE.match, weights)), None)
        behind = stage and stage[0] == part and int(stage[2]) > last.get(stage[1], 99)
        # Some networks keep the downsampling before a stage in the previous stage.
        leads = re.fullmatch(r'([a-z_]+)\.(\d+)\.downsample', part)
        end = (
            all(map(is_end, weights))
            or behind
            or part in cut
            or (leads and int(leads[2]) == last.get(leads[1]))
            or (part == 'norm_pre' and 'stages' in roots)  # ConvNeXt's last norm
        )
        stranger = '.' in weights[0] and part.partition('.')[0] not in roots
        if _HEADS.match(part) or _BEHIND.match(part):
            heads.append(part)
        elif end or (strangers and stranger):
            ends.append(part)
        else:
            inside += weights
    return heads, ends, inside


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
