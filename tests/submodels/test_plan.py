import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmcosub.submodels import Plan, plan_rows
from mmcosub.submodels.plan import to_device

plans = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 2.0]))
)


def histories(multipliers, share):
    """Factors that each view of each sample meets, following the row plan."""
    plan = Plan(multipliers)
    rows = plan_rows(plan, share)
    met = [[] for _ in range(plan.batch if share else plan.views * plan.batch)]
    counts = [len(met)]
    for step in rows.steps:
        if step.split is not None:
            met += [list(met[i]) for i in step.split.tolist()]
        kept = range(len(met)) if step.kept is None else step.kept.tolist()
        scale = step.scale
        factors = dict.fromkeys(range(len(met)), 0.0)
        for place, row in enumerate(kept):
            factors[row] = float(scale if isinstance(scale, float) else scale[place])
        for row, history in enumerate(met):
            history.append(factors[row])
        counts.append(len(met))
    index = rows.rows_of_views[len(met)]
    order = range(len(met)) if index is None else index.tolist()
    return np.array([met[i] for i in order]), counts, rows


@given(plans, st.booleans())
def test_every_view_meets_its_own_factors(multipliers, share):
    met, _, _ = histories(multipliers, share)
    expected = multipliers.reshape(len(multipliers), -1).T
    np.testing.assert_array_equal(met, expected)


@given(plans)
def test_rows_are_shared_exactly_while_views_are_equal(multipliers):
    _, counts, rows = histories(multipliers, True)
    for depth, count in enumerate(counts):
        prefixes = {
            (b, multipliers[:depth, v, b].tobytes())
            for v in range(multipliers.shape[1])
            for b in range(multipliers.shape[2])
        }
        assert count == len(prefixes)
    assert set(rows.rows_of_views) == set(counts)


@given(plans)
def test_work_counts_rows_that_keep(multipliers):
    assert plan_rows(Plan(multipliers), False).work == np.mean(multipliers > 0)
    assert plan_rows(Plan(multipliers), True).work <= np.mean(multipliers > 0)


def test_from_keep_scales_by_the_inverse_of_what_is_kept():
    keep = np.array([[[True, False]], [[True, True]]])
    plan = Plan.from_keep(keep, np.array([0.75, 0.0]))
    np.testing.assert_array_equal(plan.multipliers, [[[4.0, 0.0]], [[1.0, 1.0]]])


def test_other_devices_get_no_float64():
    # MPS has none, and on any of them the factors are applied in float32.
    factors = np.ones((2, 3))
    assert to_device(factors, 'meta').dtype == torch.float32
    assert to_device(factors, 'cpu').dtype == torch.float64
    assert to_device(factors, 'cpu', torch.float32).dtype == torch.float32
    assert to_device(np.arange(3), 'meta').dtype == torch.int64


def test_goes_to_a_gpu_from_pinned_memory(monkeypatch):
    # A stand-in for the device: only from pinned memory does a copy not wait for it.
    calls = []

    def pin_memory(tensor):
        calls.append('pinned')
        return tensor

    def to(tensor, *args, **kwargs):
        if isinstance(args[0], torch.device):
            calls.append((args[0].type, kwargs))
        return tensor

    monkeypatch.setattr(torch.Tensor, 'pin_memory', pin_memory)
    monkeypatch.setattr(torch.Tensor, 'to', to)
    to_device(np.arange(3), 'cuda')
    assert calls == ['pinned', ('cuda', dict(non_blocking=True))]
