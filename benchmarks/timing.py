"""Interleaved timing of several cases, as ratios to the first.

Machines are noisy, so cases take turns within every round, and what is reported is the
median over rounds of each case's ratio to the first case of the same round.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

COLUMNS = dict(
    at_most='at most',
    arithmetic='arithmetic',
    over_arithmetic='time / arithmetic',
    peak_memory='peak memory',
)
"""What may be reported of a case besides its time: key and title."""


def add_timing_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments on what tells the time, and on the record."""
    parser.add_argument(
        '--processor-time',
        action='store_true',
        help='time of the processor in one thread, where others use the machine, too',
    )
    parser.add_argument('--out', type=Path, help='JSON file to write')


def clock_of(args: argparse.Namespace) -> Callable[[], float]:
    """What tells the time; processor time is that of one thread, which it sets."""
    if not args.processor_time:
        return time.perf_counter
    torch.set_num_threads(1)
    return time.process_time


def compare(
    cases: dict[str, Callable[[], object]],
    rounds: int,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[str, float]]:
    """Time cases in turns.

    Args:
        cases (dict[str, Callable]): What to time; the first is the reference.
        rounds (int): How many times each is timed.
        warmup (int): How many times each runs before. Defaults to 2.
        clock (Callable): What tells the time. Defaults to ``time.perf_counter``.

    Returns:
        dict: For each case the median, first and third quartile of its ratio to the
        reference, and its median time in seconds.
    """
    times = {name: np.zeros(rounds) for name in cases}
    for i in track(range(-warmup, rounds), description='rounds'):
        for name, case in cases.items():
            start = clock()
            case()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if i >= 0:
                times[name][i] = clock() - start
    reference = times[next(iter(cases))]
    result = {}
    for name, seconds in times.items():
        low, median, high = np.percentile(seconds / reference, [25, 50, 75])
        result[name] = dict(
            ratio=float(median),
            low=float(low),
            high=float(high),
            seconds=float(np.median(seconds)),
        )
    return result


def report(
    title: str, result: dict[str, dict[str, float]], out: Path | None = None
) -> None:
    """Print a result as a table and write it as JSON.

    Args:
        title (str): What was measured.
        result (dict): From :func:`compare`; a case may have any of :data:`COLUMNS`.
        out (Path, optional): JSON file to write. Defaults to None.
    """
    more = [key for key in COLUMNS if any(key in row for row in result.values())]
    columns = ['case', 'ratio', 'quartiles', *(COLUMNS[key] for key in more)]
    table = Table(*columns, title=title)
    for name, row in result.items():
        cells = ['', '']
        if 'ratio' in row:
            cells = [f'{row["ratio"]:.2f}', f'{row["low"]:.2f} to {row["high"]:.2f}']
        for key in more:
            value = row.get(key)
            cells.append('' if value is None else f'{value:.2f}')
        table.add_row(name, *cells)
    Console(width=110).print(table)
    if out is not None:
        write(dict(title=title, **machine(), result=result), out)


def machine() -> dict[str, object]:
    """Return what was measured on: processor, instruction set, threads and PyTorch."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(':')[2].strip() for line in lines if 'model name' in line)
    return dict(
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
        processor=next(names, platform.processor() or platform.machine()),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        limit=os.environ.get('ONEDNN_MAX_CPU_ISA'),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )


def write(record: object, out: Path) -> None:
    """Write a record as JSON.

    Args:
        record (object): What was measured.
        out (Path): The file; its folder is made.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=2) + '\n')
    Console().print(f'Written to {out}')
