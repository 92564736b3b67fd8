"""What the server of processes.py imports before it forks."""

import gc
import importlib
import os

# A process that was forked cannot use a GPU, and exactness is promised of a CPU.
os.environ['CUDA_VISIBLE_DEVICES'] = ''

import torch

from mmcosub.stack import import_stack_quietly

torch.set_num_threads(1)
import_stack_quietly()
for package in ('mmcosub.config.loading', 'mmcosub.engine'):  # silent by now
    importlib.import_module(package)
gc.freeze()  # the runs that are forked share these objects and need not look at them
