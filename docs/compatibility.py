#!/usr/bin/env python
"""Write docs/compatibility.md from the record of `python -m benchmarks.compatibility`.

python docs/compatibility.py
"""

import json
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / 'benchmarks' / 'results' / 'compatibility.json'
PAGE = ROOT / 'docs' / 'compatibility.md'

TITLES = dict(
    mmseg='MMSegmentation',
    mmpretrain='MMPretrain',
    timm='timm',
)
# Where a gap is another matter than a mistake, or another than it seems.
NOTES = {
    'fastscnn': 'step: MMSegmentation computes its sigmoid losses in float32',
    'mask2former': 'step: MMDetection matches masks in float32',
    'maskformer': 'step: MMDetection matches masks in float32',
    'point_rend': 'step: MMCV samples points in float32',
}
# What errors come to, by a part of each.
MEANINGS = {
    'Every block of the backbone is frozen': 'linear probe, with a frozen backbone',
    'revvit.RevVisionTransformer has no': (
        'two streams, and a backward pass of its own that makes its drop paths anew'
    ),
    'has no residual block that mmcosub knows': 'no branch beside a shortcut to drop',
    "'MultimodalEncoderDecoder' cannot": (
        "an adapter beside CLIP's frozen encoders, another kind of model"
    ),
    'BatchCutMix is not in the': 'it names an augmentation that MMPretrain has no more',
    "'test_pipeline'": 'it changes what its base config does not have',
    'switch_to_deploy() takes': 'folded for deployment, in which its head fails',
    'configuration file type in the inheritance chain': (
        'MMEngine does not read a base config that imports a module'
    ),
    '`mean` should have 1 or 3 values': 'images of 6 channels, which it refuses',
    '`bgr_to_rgb` should be a boolean': '`bgr_to_rgb=None`, which it refuses',
    'To use VPD model': 'it needs further packages',
}
UNITS = dict(mmseg='configs', mmpretrain='classifiers', timm='files')
STATES = {
    'accepted': 'Co-train',
    'not built': 'Not built by the upstream package',
    'not trained': 'Not trained upstream',
    'refused': 'Refused',
}
HEAD = """# Supported models

<!-- Written by `python docs/compatibility.py`; the numbers are of
`python -m benchmarks.compatibility --out benchmarks/results/compatibility.json`. -->

Every upstream config of MMSegmentation, every classifier of MMPretrain, and the
smallest network of every file of timm that uses DropPath was built as
`--co-train cosub` builds it ([record](../benchmarks/results/compatibility.json)).

The smallest of each group (a folder of configs, a file of timm) was also trained for
one step at reduced size, batch 2, on random images and labels. With all drop-path
rates and the weight of distillation at 0, losses and gradients must equal those of
the upstream model in float64. "Gap" is the largest relative difference, of a loss to
its value and of a gradient to the largest one. It is empty where nothing in the group
co-trains.

In the column "Execution" ([what it is](co_training.md#what-is-computed)):

- **shared_prefix, kept_rows**: fast. Skipped branches are not computed
  ([time](fast.md#backbones)).
- **plain**: every branch is computed, because BatchNorm in training mode sees all
  rows. With BatchNorm in evaluation mode the same networks run fast.
- **drop_path**: mmcosub does not know the blocks. It hands the drawn factors to the
  network's own DropPath modules, which saves no work. Where the network processes
  parts of an image separately (TNT, MobileViT of timm), they drop a branch together.

In the other columns:

- **--fast**: how many configs have a decode head with a faster class.
- **not built**: the upstream package cannot build it, with or without mmcosub.
- **not trained**: upstream does not train it. These are classifiers without a head,
  folded for deployment, or distilled.
- **refused**: mmcosub refuses it, with the reason.
- **step**: a note on the step that was trained.

MaskFormer and Mask2Former need `pip install onedl-mmdetection`. They, CCNet, PSANet
and PointRend need MMCV with compiled operators (`pip install --no-build-isolation
--force-reinstall --no-deps onedl-mmcv`). The operators were not compiled for this
table: only PSANet calls one, and the others use only Python code from there.

"""


def rows(entries: dict) -> list[tuple[str, ...]]:
    """A line for each group."""
    groups: dict[str, list[tuple[str, dict]]] = {}
    for name, entry in sorted(entries.items()):
        groups.setdefault(entry['group'], []).append((name, entry))
    lines = []
    for group, members in groups.items():
        states = Counter(entry['status'] for _, entry in members)
        fast = sum(bool(e.get('fast')) for _, e in members)
        steps = [e['measured'] for _, e in members if 'measured' in e]
        ways = {e['execution'] for _, e in members if 'execution' in e}
        if 'kept_rows' in {step.get('execution') for step in steps}:
            ways = ways - {'shared_prefix'} | {'kept_rows'}  # a step found out
        measured = 'too large here' if states['accepted'] else ''
        lines.append(
            (
                group,
                f'{states["accepted"]} of {len(members)}',
                ', '.join(sorted(ways)),
                gap(steps[0]) if steps else measured,
                f'{fast} of {len(members)}' if fast else '',
                '; '.join(reasons(members)),
            )
        )
    return lines


def gap(step: dict) -> str:
    """Losses and gradients against the stock model's."""
    if 'error' in step:
        return 'not run'
    of = '' if step['dtype'] == 'float64' else ' (float32)'
    return f'{step["losses"]:.0e}, {step["gradients"]:.0e}{of}'


def reasons(members: list[tuple[str, dict]]) -> list[str]:
    """Why some are not accepted, each once; and why a step could not be run."""
    group = members[0][1]['group']
    found = [NOTES[group]] if group in NOTES else []
    counts = Counter(
        (entry['status'], short(entry['reason']))
        for _, entry in members
        if entry['status'] != 'accepted'
    )
    found += [f'{n} {status}: {why}' for (status, why), n in counts.items()]
    errors = [e['measured']['error'] for _, e in members if 'error' in _step(e)]
    return found + [f'step: {short(error)}' for error in errors]


def _step(entry: dict) -> dict:
    return entry.get('measured', {})


def short(reason: str) -> str:
    """What an error comes to, on one line of a table."""
    for part, meaning in MEANINGS.items():
        if part in reason:
            return meaning
    kind, _, text = reason.partition(': ')
    text = text if kind.endswith(('Error', 'Exception')) else reason
    text = text.split('. ')[0].replace('|', '/').strip(' \'"')
    return text if len(text) <= 160 else text[:157] + '...'


def table(lines: list[tuple[str, ...]]) -> str:
    """A table in Markdown, without columns that are empty."""
    names = (
        'Group',
        'Co-train',
        'Execution',
        'Gap: losses, gradients',
        '`--fast`',
        'The others',
    )
    keep = [i for i in range(len(names)) if any(line[i] for line in lines)]
    out = [[names[i] for i in keep], ['---'] * len(keep)]
    out += [[line[i] for i in keep] for line in lines]
    return ''.join(f'| {" | ".join(row)} |\n' for row in out)


def page(record: dict) -> str:
    """The whole page."""
    parts = [HEAD]
    totals = [('', *STATES.values())]
    for package, entries in record.items():
        counts = Counter(entry['status'] for entry in entries.values())
        totals.append(
            (
                f'{TITLES[package]}, {len(entries)} {UNITS[package]}',
                *(str(counts[s]) for s in STATES),
            )
        )
    totals.insert(1, ('---',) * len(totals[0]))
    parts.append(''.join(f'| {" | ".join(row)} |\n' for row in totals))
    for package, entries in record.items():
        parts.append(f'\n## {TITLES[package]}\n\n{table(rows(entries))}')
    return ''.join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(json.loads(RECORD.read_text())))
    print(f'Wrote {PAGE.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
