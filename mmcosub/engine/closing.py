"""The last line of a training: its best result, the checkpoint, the next command."""

import shlex
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmcosub.checkpoints.latest import pointed_checkpoint


def closing_line(runner: Runner, config: str) -> str:
    """Say what a training has come to, and what to type next.

    Args:
        runner (Runner): The runner, when it has trained.
        config (str): The config as it was named.
    """
    info = runner.message_hub.runtime_info
    hooks = [each for each in runner.hooks if isinstance(each, CheckpointHook)]
    hook: Any = hooks[0] if hooks else None
    done = f'Trained for {runner.iter} iterations'
    result, checkpoint = '', None
    for name in getattr(hook, 'key_indicators', None) or ():
        several = len(hook.key_indicators) > 1
        best = info.get(f'best_score_{name}' if several else 'best_score')
        checkpoint = info.get(f'best_ckpt_{name}' if several else 'best_ckpt')
        shown = getattr(hook, 'key_indicator', name) if name == 'auto' else name
        if best is not None:
            result = f'best {shown} {float(best):.4g}'
            break
    if not result:
        measured = [
            (key[4:], history)
            for key, history in runner.message_hub.log_scalars.items()
            if key.startswith('val/') and not key.endswith('time')
        ]
        if measured:
            result = f'last {measured[0][0]} {measured[0][1].current():.4g}'
    checkpoint = checkpoint or pointed_checkpoint(runner.work_dir)
    said = '; '.join(each for each in (done, result) if each)
    if not checkpoint:
        return f'{said}. No checkpoint was saved.'
    file = Path(checkpoint)
    if file.is_absolute() and file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    command = shlex.join(['mmcosub', 'test', config, str(file)])
    if not runner.cfg.get('test_dataloader'):
        command = shlex.join(['mmcosub', 'report', runner.work_dir])
    return f'{said}; checkpoint {file}\nNext: {command}'
