"""What the server of processes.py imports before it forks."""

import torch

import mmcosub.engine
import mmcosub.engine.cli  # noqa: F401
from mmcosub.stack import import_stack_quietly

torch.set_num_threads(1)
import_stack_quietly()
