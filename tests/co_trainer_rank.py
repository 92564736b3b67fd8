"""One of two processes that co-train together; writes what it found as JSON."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import torch
from plain_models import LABELS, gradients, images, timm_model
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmcosub import CoTrainer

said: list[str] = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())  # type: ignore
logging.getLogger('mmcosub').addHandler(handler)


def compare(scheme: str) -> dict[str, Any]:
    """Compare gradients of both processes with those of each alone."""
    said.clear()
    model = timm_model()
    alone = CoTrainer(copy.deepcopy(model), scheme, seed=3)
    x, criterion = images(), nn.CrossEntropyLoss()
    loss = alone.loss(x, LABELS, criterion)
    local = gradients(alone.backbone, loss)
    trainer = CoTrainer(DistributedDataParallel(model), scheme, seed=3)
    for _ in range(2):
        trainer.plans_drawn = 0
        shared = gradients(model, trainer.loss(x, LABELS, criterion))
    for grad in local:
        torch.distributed.all_reduce(grad)
    same = all(torch.allclose(a / 2, b) for a, b in zip(local, shared, strict=True))
    return dict(same=same, said=[*said], loss=loss.item())


def main(rank: int, port: int, file: Path) -> None:
    address = f'tcp://127.0.0.1:{port}'
    torch.distributed.init_process_group('gloo', address, world_size=2, rank=rank)
    done: dict = {name: compare(name) for name in ('cosub', 'augpath')}
    torch.manual_seed(rank)  # as scripts do that seed each process
    trainer = CoTrainer(DistributedDataParallel(timm_model()))
    trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
    done['seed'] = trainer.state_dict()['seed']
    file.write_text(json.dumps(done))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
