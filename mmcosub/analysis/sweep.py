"""The best submodel of each depth of a network, and records of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from .costs import count_flops
from .evaluation import Evaluation
from .network import Kept, Network

WhyNot = Callable[[Kept], str | None]
"""Function that returns why some blocks make no submodel, or None."""


def sweep(
    network: Network, test: Evaluation, search: Evaluation, why_not: WhyNot
) -> list[dict[str, Any]]:
    """Test the full network and its submodels, found with ``search``.

    Returns for each the blocks (``kept``), ``metrics``, and ``flops`` for one image.
    """

    def score(kept: Kept) -> float:
        with network.submodel(kept):
            return search.score()

    screen, most = Console(stderr=True), len(network.full) - max(1, len(network.fixed))
    order = greedy_order(network.full, why_not, score)
    found = [network.full, *track(order, 'search', most, console=screen)]
    points = []
    for kept in track(found, 'test', console=screen):
        with network.submodel(kept), torch.inference_mode():
            flops = count_flops(lambda: network.model(network.image, mode='tensor'))
            points.append(dict(kept=sorted(kept), metrics=test(), flops=flops))
    return points


def greedy_order(
    full: Kept, why_not: WhyNot, score: Callable[[Kept], float]
) -> Iterator[Kept]:
    """Yield the best submodel of each depth; ties go to the latest block removed.

    Each is the one before without the block that it does best without. ValueError, with
    the reason for the last block, if none can be removed.
    """
    kept, reasons = full, [why_not(full - {block}) for block in sorted(full)]
    if None not in reasons:
        raise ValueError(f'No block can be left out. Without the last: {reasons[-1]}')
    while options := [k for b in sorted(kept) if not why_not(k := kept - {b})]:
        kept = max(options[::-1], key=score)
        yield kept


def read_point(path: Path, depth: int, blocks: list[str]) -> Kept:
    """Return the submodel of some depth in the record of a sweep.

    ValueError if the file is no record, or of a network of other ``blocks``.
    """
    if not path.is_file():
        raise ValueError(f'There is no record {path}. submodel-sweep writes one.')
    try:
        record = json.loads(path.read_text())
        found = {len(p['kept']): frozenset(p['kept']) for p in record['points']}
        swept = record['blocks']
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{path} is no record of submodel-sweep.') from error
    if swept != blocks:
        raise ValueError(
            f'{path} is of a network of {len(swept)} blocks, {swept[-1]} the last, and '
            f'the config has {len(blocks)}, {blocks[-1]} the last: give the config '
            'that was swept.'
        )
    if depth not in found:
        raise ValueError(
            f'{path} has no submodel of {depth} blocks: there are those of '
            f'{sorted(found)}.'
        )
    return found[depth]
