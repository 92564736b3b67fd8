"""Sweeps: what they test, what they write down, and what is picked from that."""

from contextlib import contextmanager

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import segmentor_config

from mmcosub.analysis.network import Network
from mmcosub.analysis.sweep import Settings, add_costs, sweep
from mmcosub.analysis.sweep_record import (
    pick_point,
    plot_sweep,
    read_json,
    record_of,
    write_json,
)


@contextmanager
def ticker(what, total):
    yield lambda steps: None


class Stub:
    """Scores a network by which blocks it runs."""

    images = 2
    worth = (8.0, 4.0, 2.0, 1.0)

    def __init__(self, network):
        self.network = network
        self.calls = 0

    def score(self, tick):
        self.calls += 1
        ran = []
        handles = [
            block.attn.register_forward_hook(lambda *_, n=number: ran.append(n))
            for number, block in {s.depth: s.block for s in self.network.sites}.items()
        ]
        with torch.no_grad():
            self.network.backbone(self.network.image)
        for handle in handles:
            handle.remove()
        return sum(self.worth[number] for number in ran)

    def __call__(self, tick):
        return dict(mIoU=self.score(tick))


@pytest.fixture(scope='module')
def network():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return Network(MODELS.build(segmentor_config('mmpretrain ViT')), (32, 32))


@pytest.fixture(scope='module')
def record(network):
    settings = Settings(('greedy', 'random', 'given'), draws=2, given=(3, 0), rounds=1)
    test, search = Stub(network), Stub(network)
    points = sweep(network, 'a', settings, test, search, network.why_not, ticker)
    submodels = {tuple(p.kept) for p in points}
    assert test.calls == len(submodels)  # each is tested once
    assert search.calls == 9
    add_costs(points, network, settings.rounds, ticker)
    return record_of(points, network, 'mIoU', dict(config='c.py'))


def test_points(record):
    def kept(order, draw=0):
        points = record['points']
        return [p['kept'] for p in points if (p['order'], p['draw']) == (order, draw)]

    assert kept('greedy') == [[0, 1, 2, 3], [0, 1, 2], [0, 1], [0]]
    assert kept('given') == [[0, 1, 2, 3], [0, 1, 2], [1, 2]]
    for draw in (0, 1):
        assert [len(blocks) for blocks in kept('random', draw)] == [4, 3, 2, 1]
    for point in record['points']:
        # What ran is what was said to run.
        worth = sum(Stub.worth[b] for b in point['kept'])
        assert point['metrics'] == dict(mIoU=worth)
        assert {'flops', 'backbone_parameters', 'time_ratio'} <= point['cost'].keys()
    assert record['blocks'] == [f'layers.{i}' for i in range(4)]


def test_some_depths_only(network):
    settings = Settings(('greedy',), depths=[2])
    stub = Stub(network)
    points = sweep(network, 'a', settings, stub, stub, network.why_not, ticker)
    assert [len(p.kept) for p in points] == [4, 2]  # and the whole, to compare with


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(draws=0), '--draws must be 1 or more, not 0'),
        (dict(orders=('given',)), 'goes with --drop'),
        (dict(given=(1,)), 'goes with --drop'),
        (dict(rounds=-1), '--rounds must be 0 or more'),
        (dict(depths=[3, 0]), '--depths 0: a submodel of no block would be empty'),
    ],
)
def test_bad_settings(settings, said):
    with pytest.raises(ValueError, match=said):
        Settings(**settings)


def test_picking(record):
    assert pick_point(record, 2, None, None)['kept'] == [0, 1]
    assert pick_point(record, 2, 'a', 'given')['kept'] == [1, 2]
    best = max(
        sum(Stub.worth[b] for b in p['kept'])
        for p in record['points']
        if p['order'] == 'random' and len(p['kept']) == 2
    )
    assert pick_point(record, 2, 'a', 'random')['metrics']['mIoU'] == best
    with pytest.raises(
        ValueError, match=r'no submodel of 5 .* those of \[1, 2, 3, 4\]'
    ):
        pick_point(record, 5, None, None)
    with pytest.raises(ValueError, match=r"no network 'b' but \['a'\]"):
        pick_point(record, 2, 'b', None)
    several = {
        **record,
        'points': [*record['points'], {**record['points'][0], 'network': 'b'}],
    }
    with pytest.raises(ValueError, match=r"name one of \['a', 'b'\]"):
        pick_point(several, 2, None, None)


def test_written_read_and_drawn(record, tmp_path):
    write_json(record, tmp_path / 'in' / 'record.json')
    assert read_json(tmp_path / 'in' / 'record.json') == record
    plot_sweep(record, tmp_path / 'plot.svg')
    drawn = (tmp_path / 'plot.svg').read_text()
    assert drawn.count('id="axes_') == 3  # blocks, work, time
    (tmp_path / 'other.json').write_text('{"a": 1}')
    (tmp_path / 'none.json').write_text('{')
    for name, said in (
        ('other.json', 'no points'),
        ('none.json', 'no JSON'),
        ('gone.json', 'no record'),
    ):
        with pytest.raises(ValueError, match=said):
            read_json(tmp_path / name)
