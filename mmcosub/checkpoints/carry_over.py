"""From a pretraining run into the backbone of another model."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .adapt import adapt, is_computed
from .formats import Format, detect_format, known_families, plain_name
from .grids import grid_of, grid_of_config
from .reading import State, read_checkpoint, state_dict
from .resizing import Grid

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


# What everything else rests on: a random one is not made good by any share of the rest.
_ESSENTIAL = re.compile(
    r'(patch_embed|stem|conv1|bn1|pos_embed|rel_pos_bias|downsample_layers\.0|'
    r'(layers|blocks|stages|transformers|xca_layers)\.0|layer1|s1)(\.|$)'
)
# Where a whole model, or the training of one, keeps the network: the first that gives
# names of a known format is taken.
_PREFIXES = (
    'backbone.',
    'teacher.backbone.',
    'student.backbone.',
    'teacher.',
    'student.',
    'encoder.',
    'visual.trunk.',
    'visual.',
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
                lines.append(f'  {what}: {_some(names)}')
        return '\n'.join(lines)


def load_backbone(
    backbone: nn.Module,
    filename: str,
    min_match: float = 0.9,
    grid: Grid | None = None,
    trust: bool = False,
    prefix: str | None = None,
) -> CarryOver:
    """Load a backbone from a checkpoint of a classifier, segmentor or backbone.

    Formats of the same architecture are translated (mmpretrain, mmseg, timm, the
    authors'); position embeddings and relative position tables are resized,
    bicubically; heads are dropped.

    Args:
        backbone (nn.Module): The backbone, changed in place.
        filename (str): Checkpoint file or URL.
        min_match (float): Share of the backbone's weights in [0, 1] that must get a
            value. Defaults to 0.9.
        grid (tuple[int, int], optional): Patches by height and width that the
            checkpoint's position embedding is for. Defaults to None: the one of the
            config in the checkpoint, else a square.
        trust (bool): Whether the file may bring any Python object, and so run any
            code. Defaults to False.
        prefix (str, optional): What the names of the network begin with in the
            checkpoint, if it has several. Defaults to None: that is found out.

    Returns:
        CarryOver: What became of the weights.

    Raises:
        ValueError: If the file cannot be read, has nothing under ``prefix``, is of
            another architecture, or fewer weights match. The backbone is then
            unchanged.
    """
    check_min_match(min_match)
    checkpoint = read_checkpoint(filename, trust=trust)
    weights = state_dict(checkpoint)
    given = _under(prefix, weights, filename) if prefix else backbone_weights(weights)
    own = backbone.state_dict()
    names = {plain_name(name): name for name in own}
    source, target = detect_format(given), detect_format(names)
    kind = type(backbone).__name__
    if target is None:
        raise ValueError(
            f'{kind} is no architecture whose checkpoints can be read. Those are '
            f'{known_families()}.'
        )
    if source is None or not _translates(source, target, names):
        what = 'of no known format' if source is None else f'a {source.name} checkpoint'
        raise ValueError(
            f'{filename} is {what}, but the backbone is a {target.family} ({kind}). It '
            f'has {_some(sorted(given)[:4])}; the backbone has '
            f'{_some(sorted(names)[:4])}. Give a checkpoint of the same architecture. '
            f'Those that can be read: {known_families()}.'
        )
    state = source.to_our_state(given)
    wanted = {target.to_our_name(plain): own[name] for plain, name in names.items()}
    grid = grid_of_config(checkpoint) if grid is None else (grid[0], grid[1])
    try:
        state, done = adapt(state, wanted, grid, grid_of(backbone))
    except ValueError as error:
        raise ValueError(f'{filename}: {error}') from error
    state = target.from_our_state(state)
    report = CarryOver(filename, source.name, target.name, done=done)
    _compare(report, {names.get(k, k): v for k, v in state.items()}, own)
    _check_essential(report, kind)
    if report.match < min_match:
        raise ValueError(
            f'{report}\nThat is {report.match:.0%}, less than {min_match:.0%}: is it '
            'another size or variant of the architecture? If it is meant, lower '
            'carry_over.min_match (--cfg-options carry_over.min_match=0.5).'
        )
    found = {name: state[plain] for plain, name in names.items() if plain in state}
    backbone.load_state_dict({k: found[k] for k in report.matched}, strict=False)
    return report


def check_min_match(share: Any) -> None:
    """Refuse a share of weights that is none.

    Args:
        share (float): The share.

    Raises:
        ValueError: If it is not in [0, 1].
    """
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f'carry_over.min_match must be in [0, 1], not {share!r}.')


def _under(prefix: str, weights: State, filename: str) -> State:
    """Weights whose names begin with a prefix, by their plain names."""
    # MMEngine's prefixes end with a dot or not; `module.` is off the names already.
    start = re.sub(r'^module\.', '', prefix.rstrip('.') + '.')
    part = {
        plain_name(name.removeprefix(start)): value
        for name, value in weights.items()
        if name.startswith(start)
    }
    if not part:
        there = sorted({name.partition('.')[0] for name in weights})
        raise ValueError(
            f'{filename} has no weights under prefix={prefix!r}. Its names begin with '
            f'{_some(there)}.'
        )
    return part


def backbone_weights(weights: State) -> State:
    """The weights of the backbone in those of a whole model, by their plain names."""
    for prefix in _PREFIXES:
        part = {
            plain_name(name.removeprefix(prefix)): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
        if part and (prefix == 'backbone.' or detect_format(part)):
            return part
    return {plain_name(name): value for name, value in weights.items()}


def _translates(source: Format, target: Format, names: Iterable[str]) -> bool:
    if source.family == target.family:
        return True
    # mmseg's MAE is a BEiT with absolute positions: a ViT, where its biases are zero.
    return (source.family, target.family) == ('ViT', 'BEiT') and 'pos_embed' in names


def _check_essential(report: CarryOver, kind: str) -> None:
    lost = [n for n in report.missing if _ESSENTIAL.match(plain_name(n))]
    lost += [n for n in report.misshapen if _ESSENTIAL.match(plain_name(n))]
    if lost:
        raise ValueError(
            f'{report}\nThe beginning of the network would stay random: {_some(lost)}. '
            'It is another size or variant of the architecture.'
        )
    registers = [name for name in report.unused if name.endswith('reg_token')]
    if registers:
        raise ValueError(
            f'{report}\nThe checkpoint has register tokens, for which {kind} has no '
            "place. One that has is timm's: type='mmpretrain.TIMMBackbone', "
            "model_name='vit_base_patch14_reg4_dinov2', features_only=True."
        )


def _compare(report: CarryOver, state: State, own: State) -> None:
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


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f', ... ({len(names)} in all)' if len(names) > 5 else ''
    return ', '.join(names[:5]) + more
