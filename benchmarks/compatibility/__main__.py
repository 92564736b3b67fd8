"""Which stock configs co-train, and whether they compute what they should.

    python -m benchmarks.compatibility --out benchmarks/results/compatibility.json

Every stock config of mmseg, every classifier of mmpretrain, and a network of every file
of timm that drops paths is built as a model that cosub trains, without memory for
weights. Of every group (folder of configs, file of timm) the smallest is then trained
for a step at reduced size: with rate 0 and weight 0 its losses and gradients have to be
the stock model's, and a step of cosub has to move it. The record is written after each
model; what it has is not done again. ``python docs/compatibility.py`` makes the page.

MaskFormer and Mask2Former need ``onedl-mmdetection``. Heads that take from MMCV what is
Python over torch are built without its compiled operators.
"""

import argparse
import json
import os
import pickle
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger

from mmcosub.stack import import_stack_quietly

from .operators import stand_in

stand_in()

from .check import all_accepted, measured  # noqa: E402
from .stock import Case, config_cases, timm_cases  # noqa: E402

LARGEST = 320e6
"""Parameters of the largest model that is trained for a step."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='JSON file to go on with'
    )
    parser.add_argument(
        '--packages', nargs='+', default=['mmseg', 'timm', 'mmpretrain']
    )
    parser.add_argument('--groups', nargs='+', help='only these')
    parser.add_argument('--again', nargs='+', help='groups to do again')
    parser.add_argument(
        '--refused-again', action='store_true', help='and whatever was not accepted'
    )
    parser.add_argument('--seconds', type=int, default=900, help='limit of a model')
    parser.add_argument('--only-build', action='store_true', help='no steps')
    return parser.parse_args()


def wanted(entry: dict | None, group: str, args: argparse.Namespace) -> bool:
    """Whether a config is to be built."""
    if entry is None or group in (args.again or ()):
        return True
    return args.refused_again and entry['status'] != 'accepted'


def apart(work: Callable[[Any], dict], case: Any, seconds: int) -> dict:
    """Do something in a process of its own, which may run out of time or memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(seconds)
        with os.fdopen(writing, 'wb') as pipe:
            pickle.dump(work(case), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, 'rb') as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        print('out of time or memory:', case, flush=True)
    return pickle.loads(answer) if answer else {}


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    import_stack_quietly()
    MMLogger.get_instance('compatibility', log_level='ERROR')
    record = json.loads(args.out.read_text()) if args.out.is_file() else {}
    for package in args.packages:
        cases = timm_cases() if package == 'timm' else config_cases(package)
        groups: dict[str, list[Case]] = {}
        for case in cases:
            if not args.groups or case.group in args.groups:
                groups.setdefault(case.group, []).append(case)
        entries = record.setdefault(package, {})
        if args.groups:
            groups = {g: groups[g] for g in args.groups if g in groups}
        for group, members in groups.items():
            new = [c for c in members if wanted(entries.get(c.name), group, args)]
            found = apart(all_accepted, new, args.seconds) if new else {}
            entries.update(found)
            write(record, args.out)
            if not args.only_build:
                train_smallest(members, entries, args)
                write(record, args.out)
            print(package, group, summary(entries, group), flush=True)


def train_smallest(
    members: list[Case], entries: dict, args: argparse.Namespace
) -> None:
    """Train one model of a group, unless one has been."""
    candidates = [
        c
        for c in members
        if entries.get(c.name, {}).get('status') == 'accepted'
        and entries[c.name]['parameters'] < LARGEST
    ]
    done = [entries[c.name].get('measured', {}) for c in candidates]
    if not candidates or any('losses' in step for step in done):
        return
    case = min(candidates, key=lambda c: entries[c.name]['parameters'])
    found = apart(measured, case, args.seconds)
    if 'refused' in found:
        entries[case.name].update(status='refused', reason=found['refused'])
    else:
        entries[case.name]['measured'] = found or dict(error='out of time or memory')


def summary(entries: dict, group: str) -> dict:
    """What is known of a group, for the terminal."""
    states = [e for e in entries.values() if e['group'] == group]
    steps = [e['measured'] for e in states if 'measured' in e]
    count = {s: sum(e.get('status') == s for e in states) for s in STATES}
    return {**count, 'step': steps[0] if steps else None}


STATES = ('accepted', 'refused', 'not trained', 'not built')


def write(record: dict, out: Path) -> None:
    """Write the record, whole or not at all."""
    part = out.with_suffix('.part')
    part.write_text(json.dumps(record, indent=1, sort_keys=True) + '\n')
    part.replace(out)


if __name__ == '__main__':
    main()
