"""Runs of the tools as processes of their own that start at once.

A server imports the stack one time and forks a process for each run, which can be
killed without harm to others.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CONTEXT: ForkServerContext | None = None


def start(
    tool: str, argv: list[str], log: Path, ranks: int = 1
) -> list[ForkServerProcess]:
    """Start a tool.

    Args:
        tool (str): Script of tools/, such as 'train.py'.
        argv (list[str]): Its arguments.
        log (Path): File that gets all it says; of further ranks with .1 and so on.
        ranks (int): Number of processes. Defaults to 1.

    Returns:
        list[Process]: One process a rank, each the leader of a group of its own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    port = _free_port() if ranks > 1 else 0
    processes = []
    for rank in range(ranks):
        env, args = {'OMP_NUM_THREADS': '1', 'LOCAL_RANK': str(rank)}, list(argv)
        if ranks > 1:
            env.update(RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_PORT=str(port))
            env['MASTER_ADDR'] = '127.0.0.1'
            args += ['--launcher', 'pytorch']
        file = log.with_name(f'{log.name}.{rank}') if rank else log
        process = context().Process(target=_run, args=(tool, args, str(file), env))
        process.start()
        processes.append(process)
    return processes


def kill(processes: list[ForkServerProcess]) -> None:
    """Kill the processes of a run at once; their workers notice.

    Args:
        processes (list[Process]): Of :func:`start`.
    """
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def finish(processes: list[ForkServerProcess], timeout: float) -> list[int | None]:
    """Wait for the processes of a run.

    Args:
        processes (list[Process]): Of :func:`start`.
        timeout (float): Seconds after which a run hangs and is killed.

    Returns:
        list[int | None]: Their exit statuses; None where one hung.
    """
    for process in processes:
        process.join(timeout)
    statuses = [process.exitcode for process in processes]
    kill(processes)
    return statuses


def context() -> ForkServerContext:
    """The server, for functions that begin with the stack imported."""
    global _CONTEXT
    if _CONTEXT is None:
        paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
        os.environ['PYTHONPATH'] = os.pathsep.join(paths)
        os.environ.setdefault('OMP_NUM_THREADS', '1')
        _CONTEXT = multiprocessing.get_context('forkserver')
        _CONTEXT.set_forkserver_preload(['benchmarks.preloaded'])
    return _CONTEXT


def _run(tool: str, argv: list[str], log: str, env: dict[str, str]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where nohup started us
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, 'w', 1), os.fdopen(2, 'w', 1)
    os.environ.update(env)
    script = str(ROOT / 'tools' / tool)
    sys.argv = [script, *argv]
    sys.path.insert(0, str(ROOT))
    try:
        runpy.run_path(script, run_name='__main__')
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]
