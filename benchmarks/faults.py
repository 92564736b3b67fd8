"""Faults injected into runs, and what became of them.

    python benchmarks/faults.py                       # all, in parts, as they are left
    python benchmarks/faults.py --parts inputs        # some of it

Kills at random moments and while a checkpoint is being written, over ways to train;
bad inputs of all kinds; a long run with its memory and open files. What is done is
kept in the record, so a campaign that is broken off goes on where it was. The tables
are in docs/reliability.md, written by ``--write``.
"""

import argparse
import json
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bad_inputs import CASES, try_case
from benchmarks.fault_settings import SETTINGS
from benchmarks.fault_tables import write_tables
from benchmarks.kills import broken, unbroken
from benchmarks.soak import soak

RESULTS = Path(__file__).parent / 'results' / 'faults.json'
DOCS = Path(__file__).parents[1] / 'docs' / 'reliability.md'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--parts', nargs='+', choices=('kills', 'inputs', 'soak'),
        default=['kills', 'inputs', 'soak'],
    )  # fmt: skip
    parser.add_argument('--kills', type=int, default=12, help='of each setting')
    parser.add_argument('--iterations', type=int, default=2000, help='of the long run')
    parser.add_argument('--out', type=Path, default=RESULTS, help='the record')
    parser.add_argument('--again', action='store_true', help='forget what is recorded')
    parser.add_argument(
        '--write', action='store_true', help='write the tables of the record, run none'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    record: dict[str, Any] = {}
    if args.out.is_file() and not args.again:
        record = json.loads(args.out.read_text())
    if not args.write:
        record['machine'] = f'{platform.machine()}, CPU, Python {sys.version_info[:2]}'
        for part in args.parts:
            done = record.setdefault(part, {})
            for name in _RUN[part](args, done):
                print(part, name, done[name], flush=True)
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(record, indent=1) + '\n')
    write_tables(record, DOCS)


def kills(args: argparse.Namespace, done: dict) -> Any:
    """Kill runs of every setting that is not recorded."""
    for seed, (name, setting) in enumerate(SETTINGS.items()):
        if name not in done:
            root = Path(tempfile.mkdtemp(prefix='kills-'))
            seconds = unbroken(setting, root)
            result = broken(setting, root, args.kills, seconds, seed)
            done[name] = result.as_dict()
            shutil.rmtree(root)
            yield name


def inputs(args: argparse.Namespace, done: dict) -> Any:
    """Give every bad input that is not recorded to the tool it is for."""
    root = Path(tempfile.mkdtemp(prefix='inputs-'))
    for name, case in CASES.items():
        if name not in done:
            done[name] = try_case(case, root)
            yield name
    shutil.rmtree(root)


def long_run(args: argparse.Namespace, done: dict) -> Any:
    """Train for long and watch."""
    name = f'{args.iterations} iterations'
    if name not in done:
        done[name] = soak(args.iterations)
        yield name


_RUN = {'kills': kills, 'inputs': inputs, 'soak': long_run}

if __name__ == '__main__':
    main()
