"""Records of sweeps, and the choice of a submodel."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from .network import Network
from .sweep import Point


def record_of(
    points: Sequence[Point], network: Network, metric: str, about: Mapping[str, Any]
) -> dict:
    """Return a sweep's record.

    Args:
        points (Sequence[Point]): The submodels.
        network (Network): A network of the same architecture.
        metric (str): The main metric.
        about (Mapping): Further entries of the record.
    """
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else platform.machine()
    return dict(
        title='Submodels by their number of blocks',
        **about,
        metric=metric,
        shape=list(network.image.shape),
        machine=f'{device}, {torch.get_num_threads()} threads',
        torch=torch.__version__,
        blocks=network.blocks,
        fixed=sorted(network.fixed),
        points=[asdict(point) for point in points],
    )


def pick_point(
    record: Mapping[str, Any], depth: int, network: str | None, order: str | None
) -> dict:
    """Return the best submodel of a depth in a sweep's record.

    Args:
        record (Mapping): The record.
        depth (int): Number of blocks.
        network (str, optional): Name of the network. Defaults to None: the only one.
        order (str, optional): Order of removal. Defaults to None: 'greedy' if
            available, else the first.

    Raises:
        ValueError: If there is none, or the network is ambiguous.
    """
    points = record['points']
    networks = sorted({p['network'] for p in points})
    if network is None and len(networks) > 1:
        raise ValueError(f'The record has several networks: name one of {networks}.')
    if network is not None and network not in networks:
        raise ValueError(f'The record has no network {network!r} but {networks}.')
    mine = [p for p in points if network in (None, p['network'])]
    orders = sorted({p['order'] for p in mine})
    if order is None:
        order = 'greedy' if 'greedy' in orders else orders[0]
    if order not in orders:
        raise ValueError(f'The record has no order {order!r} but {orders}.')
    mine = [p for p in mine if p['order'] == order]
    found = [p for p in mine if len(p['kept']) == depth]
    if not found:
        depths = sorted({len(p['kept']) for p in mine})
        raise ValueError(
            f'The record has no submodel of {depth} blocks in the order {order!r}: '
            f'there are those of {depths}.'
        )
    return max(found, key=lambda p: p['metrics'][record['metric']])
