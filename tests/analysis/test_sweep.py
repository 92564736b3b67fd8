"""Sweeps: what they test, and what is picked from their record."""

import json

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import segmentor_config

from mmcosub.analysis.network import Network
from mmcosub.analysis.sweep import greedy_order, read_point, sweep

FULL = frozenset(range(4))
WORTH = {0: 5.0, 1: 1.0, 2: 3.0, 3: 1.0}


class Stub:
    """Scores a network by which blocks it runs."""

    worth = (8.0, 4.0, 2.0, 1.0)

    def __init__(self, network):
        self.network = network
        self.calls = 0

    def score(self):
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

    def __call__(self):
        return dict(mIoU=self.score())


def test_sweep():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    network = Network(MODELS.build(segmentor_config('mmpretrain ViT')), (32, 32))
    test, search = Stub(network), Stub(network)
    points = sweep(network, test, search, network.why_not)
    assert [p['kept'] for p in points] == [[0, 1, 2, 3], [0, 1, 2], [0, 1], [0]]
    assert test.calls == 4
    assert search.calls == 4 + 3 + 2
    for point in points:
        # What ran is what was said to run.
        worth = sum(Stub.worth[b] for b in point['kept'])
        assert point['metrics'] == dict(mIoU=worth)
    flops = [point['flops'] for point in points]
    assert flops == sorted(flops, reverse=True)


def any_but_none(kept):
    return None if kept else 'it would be empty'


def test_greedy_takes_the_best_each_time():
    tried = []

    def score(kept):
        tried.append(kept)
        return sum(WORTH[b] for b in kept)

    # 1 and 3 are worth the same: the later one goes first.
    found = [sorted(kept) for kept in greedy_order(FULL, any_but_none, score)]
    assert found == [[0, 1, 2], [0, 2], [0]]
    assert len(tried) == 4 + 3 + 2


def test_greedy_keeps_what_has_to_stay():
    def why_not(kept):
        return None if 1 in kept else 'block 1 stays'

    found = greedy_order(FULL, why_not, len)
    assert [sorted(kept) for kept in found] == [[0, 1, 2], [0, 1], [1]]


def test_nothing_can_be_left_out():
    with pytest.raises(ValueError, match=r'left out\. .*would be empty'):
        next(greedy_order(frozenset({0}), any_but_none, len))


def test_picking(tmp_path):
    path = tmp_path / 'record.json'
    points = [dict(kept=[0, 1, 2]), dict(kept=[0, 2])]
    path.write_text(json.dumps(dict(blocks=['a', 'b', 'c'], points=points)))
    assert read_point(path, 2, ['a', 'b', 'c']) == {0, 2}
    with pytest.raises(ValueError, match=r'no submodel of 5 .* those of \[2, 3\]'):
        read_point(path, 5, ['a', 'b', 'c'])
    with pytest.raises(ValueError, match=r'network of 3 blocks, c the last, and .* 1'):
        read_point(path, 2, ['a'])
    with pytest.raises(ValueError, match='There is no record'):
        read_point(tmp_path / 'gone.json', 2, [])
    for text in ('{"a": 1}', '{', '[]'):
        path.write_text(text)
        with pytest.raises(ValueError, match='is no record of submodel-sweep'):
            read_point(path, 2, [])
