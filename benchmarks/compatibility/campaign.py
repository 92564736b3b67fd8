"""All packages, group by group."""

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

from .check import all_accepted, measured
from .stock import Case, config_cases, timm_cases

LARGEST = 320e6
"""Parameters of the largest model that is trained for a step."""

STATES = ('accepted', 'refused', 'not trained', 'not built')


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


def run(args: argparse.Namespace) -> None:
    """Build every config, train a step of every group, and keep the record.

    Args:
        args (Namespace): Arguments of the command.
    """
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


def write(record: dict, out: Path) -> None:
    """Write the record, whole or not at all."""
    part = out.with_suffix('.part')
    part.write_text(json.dumps(record, indent=1, sort_keys=True) + '\n')
    part.replace(out)
