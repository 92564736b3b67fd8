"""From a pretraining run into the backbone of another model."""

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from .adapt import adapt
from .by_names import load_by_names
from .formats import Format, detect_format, known_families, plain_name
from .grids import grid_of, grid_of_config
from .matching import CarryOver, compare, some
from .reading import State, read_checkpoint, state_dict
from .resizing import Grid

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


def load_backbone(
    backbone: nn.Module,
    filename: str,
    min_match: float | None = None,
    grid: Grid | None = None,
    trust: bool = False,
    prefix: str | None = None,
) -> CarryOver:
    """Load a backbone from a checkpoint of a classifier, segmentor or backbone.

    Formats of the same architecture are translated (mmpretrain, mmseg, timm, the
    authors'); position embeddings and relative position tables are resized,
    bicubically; heads are dropped. Into a backbone of no known format go the weights
    that have its names.

    Args:
        backbone (nn.Module): The backbone, changed in place.
        filename (str): Checkpoint file or URL.
        min_match (float, optional): Share of the backbone's weights in [0, 1] that
            must get a value. Defaults to None: 0.9, or 0.5 where the backbone is of
            no known format and names alone decide.
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
    if min_match is not None:
        check_min_match(min_match)
    checkpoint = read_checkpoint(filename, trust=trust)
    weights = state_dict(checkpoint)
    if prefix:
        weights = _under(prefix, weights, filename)
    target = detect_format(map(plain_name, backbone.state_dict()))
    if target is None:
        return load_by_names(backbone, filename, weights, min_match)
    min_match = 0.9 if min_match is None else min_match
    given = backbone_weights(weights)
    own = backbone.state_dict()
    names = {plain_name(name): name for name in own}
    source, kind = detect_format(given), type(backbone).__name__
    if source is None or not _translates(source, target, names):
        what = 'of no known format' if source is None else f'a {source.name} checkpoint'
        raise ValueError(
            f'{filename} is {what}, but the backbone is a {target.family} ({kind}). It '
            f'has {some(sorted(given)[:4])}; the backbone has '
            f'{some(sorted(names)[:4])}. Give a checkpoint of the same architecture. '
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
    compare(report, {names.get(k, k): v for k, v in state.items()}, own)
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
    """Weights whose names begin with a prefix, without it."""
    # MMEngine's prefixes end with a dot or not; `module.` is off the names already.
    start = re.sub(r'^module\.', '', prefix.rstrip('.') + '.')
    part = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
    if not part:
        there = sorted({name.partition('.')[0] for name in weights})
        raise ValueError(
            f'{filename} has no weights under prefix={prefix!r}. Its names begin with '
            f'{some(there)}.'
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
            f'{report}\nThe beginning of the network would stay random: {some(lost)}. '
            'It is another size or variant of the architecture.'
        )
    registers = [name for name in report.unused if name.endswith('reg_token')]
    if registers:
        raise ValueError(
            f'{report}\nThe checkpoint has register tokens, for which {kind} has no '
            "place. One that has is timm's: type='mmpretrain.TIMMBackbone', "
            "model_name='vit_base_patch14_reg4_dinov2', features_only=True."
        )
