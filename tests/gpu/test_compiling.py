"""With ``compile=True``, by the compiler that generates code.

On a GPU by `make gpu`; on a CPU with a C++ compiler by `make test-all`, as it takes
minutes there.
"""

import copy
import shutil

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import labelled_images, segmentor_config
from torch import Tensor, nn

from mmcosub.config.co_train import co_trained_model
from mmcosub.models import compile_parts

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.filterwarnings('ignore'),  # of the compiler's own
    pytest.mark.skipif(
        DEVICE == 'cpu' and not (shutil.which('g++') or shutil.which('clang++')),
        reason='needs a GPU or a C++ compiler',
    ),
]


def gradients(model: nn.Module, batch: int, seed: int) -> list[Tensor]:
    """Loss and gradients of a step."""
    images, samples = labelled_images(batch, seed=seed)
    model.zero_grad()
    samples = [sample.to(DEVICE) for sample in samples]
    losses = model.loss(images.to(DEVICE), samples)
    loss = sum(v for k, v in losses.items() if 'loss' in k)
    loss.backward()
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return [loss.detach(), *grads]


def test_generated_code() -> None:
    import torch._dynamo.utils

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    init_default_scope('mmseg')
    scheme = dict(type='Cosub', drop_path_rate=0.4, seed=3)
    config = co_trained_model(segmentor_config('mmpretrain ViT'), scheme)
    torch.manual_seed(0)
    plain = MODELS.build(config).to(DEVICE).train()
    compiled = copy.deepcopy(plain)
    compile_parts(compiled, True)
    graphs = []
    for step, batch in enumerate((4, 4, 4, 3, 5)):
        found = gradients(compiled, batch, step)
        expected = gradients(plain, batch, step)
        for a, b in zip(found, expected, strict=True):
            scale = b.abs().max().clamp_min(1e-3)
            torch.testing.assert_close(a / scale, b / scale, rtol=0, atol=2e-3)
        graphs.append(torch._dynamo.utils.counters['stats']['unique_graphs'])
    assert graphs == [2] * 5  # attention and FFN, for any number of rows
