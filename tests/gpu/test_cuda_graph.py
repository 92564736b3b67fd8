"""A co-trained backbone's step goes into a CUDA graph, where all shapes are fixed.

The plan's indices are the only thing that changes from step to step. They are written
to the same memory before each replay. Without a GPU the step itself is called again,
which holds the rest of the test to what it says; that PyTorch captures it is proven on
a GPU alone.
"""

from collections.abc import Callable

import pytest
import torch
from tiny import backbone
from torch import Tensor

from mmcosub.schemes import Cosub
from mmcosub.submodels import (
    Plan,
    execution,
    find_branches,
    plan_generator,
    plan_rows,
    run_submodels,
)
from mmcosub.submodels.plan import RowPlan

pytestmark = pytest.mark.gpu
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
BATCH = 5  # of which 1 - rate is a whole number


def captured(step: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    """A step as a CUDA graph, as PyTorch's documentation has it."""
    if DEVICE == 'cpu':
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()

    def replay() -> list[Tensor]:
        graph.replay()
        return results

    return replay


def fill(held: RowPlan, new: RowPlan) -> None:
    """Write the indices of another plan of the same shapes."""
    assert held.rows_of_views == new.rows_of_views  # no row splits: all are in order
    for old, step in zip(held.steps, new.steps, strict=True):
        assert (old.rows, old.split, old.scale) == (step.rows, step.split, step.scale)
        assert old.kept is not None
        assert step.kept is not None
        old.kept.copy_(step.kept)


def test_captured_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = backbone('mmpretrain ViT').to(DEVICE)
    parameters = [p for p in model.parameters() if p.requires_grad]
    sites = find_branches(model)
    sampler = dict(type='StratifiedSampler', fixed=True)
    scheme = Cosub(drop_path_rate=0.4, execution='kept_rows', sampler=sampler)
    images = torch.randn(BATCH, 3, 32, 32, device=DEVICE)

    def draw(step: int) -> Plan:
        return scheme.draw(sites, BATCH, plan_generator(0, step))

    def compute(plan: Plan) -> list[Tensor]:
        outputs, _ = run_submodels(model, images, plan, sites, 'kept_rows')
        loss = sum(o.square().mean() for o in outputs)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [*outputs, *(g for g in grads if g is not None)]

    held = plan_rows(draw(0), share=False, device=DEVICE)
    with monkeypatch.context() as patch:
        patch.setattr(execution, 'plan_rows', lambda *args: held)
        replay = captured(lambda: compute(draw(0)))
        found = []
        for step in range(1, 4):
            fill(held, plan_rows(draw(step), share=False, device=DEVICE))
            found.append([x.detach().clone() for x in replay()])
    for step, results in enumerate(found, 1):
        expected = compute(draw(step))
        assert len(results) == len(expected) > len(parameters) // 2
        torch.testing.assert_close(results, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(found[0][0], found[1][0])
