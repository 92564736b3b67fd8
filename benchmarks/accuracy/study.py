#!/usr/bin/env python
"""Plain training, cosub and controls on Fashion-MNIST, stage by stage.

docs/accuracy.md has the protocol. A run whose settings have a record is not done
again, so the command may be stopped at any moment and given again. `tables.py` makes
the tables and pictures.
"""

import argparse
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

from records import Records
from settings import Run, SceneRun
from stages import STAGES

ROOT = Path(__file__).resolve().parents[2]
_shared: dict = {}


def start_worker(source: Path, pretrained: Path, device: str = 'cpu') -> None:
    """Prepare a process, and keep it to one thread.

    Args:
        source (Path): Folder with Fashion-MNIST's four files.
        pretrained (Path): Folder for pretrained backbones.
        device (str): Where to train. Defaults to 'cpu'.
    """
    from mmcosub.stack import import_stack_quietly

    import_stack_quietly()
    import torch
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    import mmcosub.models  # noqa: F401  registers the wrappers

    torch.set_num_threads(1)
    # Adam's second moments of a trained network become so small that they slow it down.
    torch.set_flush_denormal(True)
    MMLogger.get_instance('mmengine', log_level='ERROR')
    init_default_scope('mmpretrain')
    _shared.update(source=source, pretrained=pretrained, device=device)


def work(run: Run | SceneRun) -> tuple[Run | SceneRun, dict]:
    """Train a run in a worker.

    Args:
        run (Run | SceneRun): The run.
    """
    kind = type(run).__name__
    device = _shared['device']
    if isinstance(run, SceneRun):
        from scenes import SceneData
        from segmentation import train as train_segmentor

        if kind not in _shared:
            _shared[kind] = SceneData(_shared['source'])
        return run, train_segmentor(run, _shared[kind], _shared['pretrained'], device)
    from fashion import load
    from training import train

    if kind not in _shared:
        _shared[kind] = load(_shared['source'])
    return run, train(run, _shared[kind], device)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--records',
        type=Path,
        default=ROOT / 'benchmarks' / 'results',
        help='folder of the records',
    )
    parser.add_argument(
        '--pretrained',
        type=Path,
        default=ROOT / 'data' / 'accuracy',
        help='folder for pretrained backbones',
    )
    parser.add_argument(
        '--source', type=Path, default=Path('/usr/share/datasets/fashion-mnist')
    )
    parser.add_argument(
        '--stages',
        nargs='+',
        choices=STAGES,
        default=[name for name in STAGES if 'larger' not in name],
        help='those of larger networks, for a GPU, run where they are named only',
    )
    parser.add_argument('--device', default='cpu', help='where to train, such as cuda')
    parser.add_argument('--processes', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--list', action='store_true', help='what is left, and stop')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # Ended by it without an exception, workers would go on for nobody.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    records = Records(args.records)
    context = multiprocessing.get_context('spawn')
    pool = None
    for name in args.stages:
        # Later stages take what earlier ones chose.
        runs = {run.key: run for run in STAGES[name](records)}
        todo = [run for run in runs.values() if run not in records]
        print(f'{name}: {len(todo)} of {len(runs)} runs to do.', flush=True)
        if not todo:
            continue
        if args.list:
            return
        start = (start_worker, (args.source, args.pretrained, args.device))
        pool = pool or context.Pool(args.processes, *start)
        for run, result in pool.imap_unordered(work, todo):
            records.add(run, result)
            print(f'{run.key}: {result["validation"]["accuracy"]:.1f}', flush=True)


if __name__ == '__main__':
    main()
