import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.utils import get_git_hash

import mmcosub
from mmcosub.names import FACTS
from mmcosub.registry import HOOKS
from mmcosub.stack import find_stack


@HOOKS.register_module()
class RunFactsHook(Hook):
    """Hook that records how a run was started, in ``facts.json``.

    Facts: the command, the config file, versions, devices, seed, and the commit of the
    current folder.
    """

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Write the facts."""
        folder = Path(runner.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        facts = _facts(runner)
        (folder / FACTS).write_text(json.dumps(facts, indent=2) + '\n')


def _facts(runner: Runner) -> dict[str, Any]:
    config = runner.cfg.filename
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    packages = [each for found in find_stack().values() for each in found]
    return dict(
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        config=str(Path(config).resolve()) if config else None,
        folder=str(Path.cwd()),
        git=get_git_hash(),
        seed=runner.seed,
        processes=get_world_size(),
        devices=gpus or [f'CPU, {os.cpu_count()} processors'],
        versions=dict(
            mmcosub=mmcosub.__version__,
            **{each.distribution: each.version for each in packages},
            Python=platform.python_version(),
        ),
        platform=platform.platform(),
    )
