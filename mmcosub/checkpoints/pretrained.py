"""Loading of pretrained weights into the backbone of another model."""

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from .adapt import adapt
from .by_names import by_names, by_plain_names, network_in, under
from .formats.table import FORMATS, Format, detect_format, plain_name
from .matching import (
    BY_NAMES,
    LoadReport,
    as_patterns,
    compare,
    missing_blocks,
    parts,
    some,
)
from .positions import Grid, grid_of, grid_of_checkpoint, inner_network
from .reading import read_checkpoint
from .weights import State, require_finite, select_weights


def load_backbone(
    backbone: nn.Module,
    filename: str,
    min_match: float | None = None,
    grid: Grid | None = None,
    trust: bool = False,
    prefix: str | None = None,
    allow_unused: Sequence[str] | str = (),
    weights: str | None = None,
) -> LoadReport:
    """Load a backbone from a checkpoint of a classifier, segmentor or backbone.

    Formats of the same architecture are converted (mmpretrain, mmseg, timm, the
    authors'). Position embeddings and relative position tables are resized bicubically.
    Heads are dropped. A backbone of unknown format gets the weights with matching
    names.

    Args:
        backbone (nn.Module): The backbone, changed in place.
        filename (str): Checkpoint file or URL.
        min_match (float, optional): Fraction in [0, 1] of the backbone's weights that
            must be loaded. Defaults to None: 0.9, or 0.5 for a backbone of unknown
            format, and no block may lack its weights.
        grid (tuple[int, int], optional): Grid (height, width) of the checkpoint's
            position embedding. Defaults to None: the recorded grid, else the backbone's
            if it has as many patches, else a square.
        trust (bool): Allow any Python object, which can execute code. Defaults to
            False.
        prefix (str, optional): Prefix of the network's names if the checkpoint has
            several networks. Defaults to None: detected.
        allow_unused (Sequence[str] | str): Patterns with ``*``, in the backbone's
            format, of modules or weights inside the checkpoint's network that the
            backbone may lack. Defaults to none.
        weights (str, optional): 'ema' (averaged), 'model' (trained) or the name of a
            set of weights in the file. Defaults to None: the average if there is one.

    Returns:
        LoadReport: Report of the loaded weights.

    Raises:
        ValueError: If the file cannot be read, has nothing under ``prefix`` or another
            architecture, the backbone lacks some of its inner weights, or too few
            weights match. The backbone is then unchanged.
    """
    if min_match is not None:
        check_min_match(min_match)
    checkpoint = read_checkpoint(filename, trust=trust)
    state, _ = select_weights(checkpoint, weights, filename)
    given = state
    if prefix:
        # MMEngine's may end with a dot; `module.` is already removed from names.
        given = under(re.sub(r'^module\.', '', prefix.rstrip('.') + '.'), state)
        if not given:
            there = sorted({name.partition('.')[0] for name in state})
            raise ValueError(
                f'{filename} has no weights under prefix={prefix!r}. Its names begin '
                f'with {some(there)}.'
            )
    own, kind = backbone.state_dict(), type(backbone).__name__
    target = detect_format(map(plain_name, own))
    if grid is None:
        grid = grid_of_checkpoint(checkpoint, given)
    if target is None:
        state, done = by_names(backbone, given, grid)
        report = LoadReport(filename, BY_NAMES, kind, done=done)
    else:
        state, report = _translated(backbone, target, given, filename, grid)
    allow = [allow_unused] if isinstance(allow_unused, str) else allow_unused
    info = getattr(inner_network(backbone), 'feature_info', ())
    cut = {each['module'] for each in info if isinstance(each, dict)}
    compare(report, state, own, allow, cut)
    _check(report, kind, own, min_match)
    require_finite({name: state[name] for name in report.matched}, filename)
    backbone.load_state_dict({k: state[k] for k in report.matched}, strict=False)
    return report


def check_min_match(share: Any) -> None:
    """Raise a ``ValueError`` unless the fraction is in [0, 1]."""
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f'carry_over.min_match must be in [0, 1], not {share!r}.')


def _translated(
    backbone: nn.Module,
    target: Format,
    weights: State,
    filename: str,
    grid: Grid | None,
) -> tuple[State, LoadReport]:
    """Return weights of the same architecture in the backbone's names and sizes."""
    own = backbone.state_dict()
    names = {plain_name(name): name for name in own}
    given = by_plain_names(network_in(weights))
    source, kind = detect_format(given), type(backbone).__name__
    # mmseg's MAE is a BEiT with absolute positions: a ViT if its biases are zero.
    families = {(target.family, target.family)}
    if 'pos_embed' in names:
        families.add(('ViT', 'BEiT'))
    if source is None or (source.family, target.family) not in families:
        what = 'of no known format' if source is None else f'a {source.name} checkpoint'
        raise ValueError(
            f'{filename} is {what}, but the backbone is a {target.family} ({kind}). It '
            f'has {some(sorted(given)[:4])}; the backbone has '
            f'{some(sorted(names)[:4])}. Give a checkpoint of the same architecture. '
            f'Those that can be read: {sorted({f.family for f in FORMATS.values()})}.'
        )
    state = source.to_our_state(given)
    wanted = {target.to_our_name(plain): own[name] for plain, name in names.items()}
    try:
        state, done = adapt(state, wanted, grid, grid_of(backbone))
    except ValueError as error:
        raise ValueError(f'{filename}: {error}') from error
    state = target.from_our_state(state)
    report = LoadReport(filename, source.name, target.name, done=done)
    return {names.get(k, k): v for k, v in state.items()}, report


def _check(report: LoadReport, kind: str, own: State, min_match: float | None) -> None:
    """Raise if too few of the backbone's weights were loaded."""
    known = report.source != BY_NAMES
    lost = {*report.missing, *(name.split()[0] for name in report.misshapen)}
    layers = (n for n, v in own.items() if v.ndim > 1 and n not in report.expected)
    if (first := next(layers, '')) in lost:
        raise ValueError(
            f'{report}\nThe beginning of the network would stay random: {first}. It is '
            'another size or variant of the architecture.'
        )
    least = (0.9 if known else 0.5) if min_match is None else min_match
    random: list[str] = []
    if min_match is None:
        random = [*missing_blocks(report.missing, report.matched), *report.misshapen]
    if report.match < least or random:
        why = f'That is {report.match:.0%}'
        why += f', less than {least:.0%}' if report.match < least else ''
        why += f', and {some(random)} would stay random' if random else ''
        if not known:
            why += f' (the formats of {kind} are not known, so names decide)'
        raise ValueError(
            f'{report}\n{why}: is it another size or variant of the architecture? '
            'If it is meant, lower carry_over.min_match (--cfg-options '
            f'carry_over.min_match={0.5 if known else 0.2}).'
        )
    if report.unused:
        inside = parts(report.unused, map(plain_name, own))
        raise ValueError(
            f'{report}\nThe checkpoint has parts inside the network that {kind} lacks: '
            f'{some(inside)}. Without them the features are not those of the '
            "checkpoint. Give the backbone the checkpoint's size and settings, or, if "
            'it is meant, allow them: --backbone-allow-unused '
            f'{" ".join(map(repr, as_patterns(inside)))}.'
        )
