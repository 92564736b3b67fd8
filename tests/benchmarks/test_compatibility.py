"""The page of what co-trains is what its record says, and the check can fail."""

import json
from dataclasses import dataclass

import pytest
from tiny import segmentor_config

from benchmarks.compatibility import check
from benchmarks.compatibility.stock import Case, without_files
from docs import compatibility
from mmcosub.submodels import rows


def test_page_is_of_its_record():
    record = json.loads(compatibility.RECORD.read_text())
    page = compatibility.page(record)
    assert compatibility.PAGE.read_text() == page, 'run `python docs/compatibility.py`'
    assert set(record) <= set(compatibility.TITLES)


@dataclass(frozen=True)
class Tiny(Case):
    """A tiny model instead of a stock one."""

    def model(self):
        cfg = without_files(segmentor_config())
        if self.name == 'plain':
            cfg['backbone'] = dict(
                type='ResNet', depth=18, base_channels=2, stem_channels=2
            )
            cfg['decode_head'].update(in_channels=[4, 8], in_index=[1, 2])
            cfg['auxiliary_head'].update(in_channels=8, in_index=2)
        if self.name == 'unknown':
            cfg['backbone'] = dict(type='UNet', base_channels=2)
        return cfg


@pytest.mark.parametrize('name', ['fast', 'plain'])
def test_right_ones(name):
    case = Tiny('mmseg', 'tiny', name)
    found = check.measured(case)
    assert found['losses'] < 1e-12
    assert found['gradients'] < 1e-9
    assert found['execution'] == {'fast': 'shared_prefix', 'plain': 'plain'}[name]
    assert check.all_accepted([case])[name]['status'] == 'accepted'


def test_a_wrong_one_is_noticed(monkeypatch):
    scaled = rows.scaled
    monkeypatch.setattr(rows, 'scaled', lambda y, f: scaled(y, f) * 1.001)
    found = check.measured(Tiny('mmseg', 'tiny', 'plain'))
    # The check before the first step names the first block that differs.
    assert 'layer1.0' in found.get('refused', found.get('error', ''))


def test_why_not():
    found = check.all_accepted([Tiny('mmseg', 'tiny', 'unknown')])['unknown']
    assert found['status'] == 'refused'
    assert 'UNet has no residual block' in found['reason']
    assert compatibility.short(found['reason']).startswith('no branch beside a')
