"""Folders of synthetic images, with a record of their settings."""

import json
from collections.abc import Sequence
from pathlib import Path

from mmcosub.files import atomic_write


def begin_folder(
    record: Path, settings: dict, folders: Sequence[str], overwrite: bool
) -> bool:
    """Prepare the folders beside a record; False if all images are there already.

    Only with ``overwrite``, images of other settings are deleted; otherwise ValueError.
    Without a record, the images may be a user's: they are never deleted.
    """
    root, there = record.parent, None
    try:
        content = json.loads(record.read_text())
        there = content['settings'] if content.get('complete', True) else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        pass  # no record
    if there == json.loads(json.dumps(settings)):
        return False
    made = record.is_file()
    if not (overwrite and made) and root.is_dir() and any(root.iterdir()):
        found = f'is not empty and has no {record.name} of a finished run'
        if there is not None:
            found = f'has images of other settings, {there}'
        replace = 'Pass --overwrite to replace them, or' if made else 'Choose'
        raise ValueError(f'{root} {found}. {replace} another --out.')
    root.mkdir(parents=True, exist_ok=True)
    record.write_text('{}')  # first: it may be interrupted
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for old in (root / folder).glob('*.png'):
            old.unlink()
    return True


def end_folder(record: Path, settings: dict) -> None:
    """Record that all images of these settings are written."""
    with atomic_write(record) as partial:
        partial.write_text(json.dumps(dict(settings=settings), indent=2) + '\n')
