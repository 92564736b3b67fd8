"""Folder of synthetic images, written by a script from settings."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mmcosub.files import atomic_write


class MadeFolder:
    """Folder of synthetic images, with a record of their settings.

    Writing may be interrupted at any time and continues where it stopped. Images of
    other settings and other files are replaced with ``overwrite`` only; without it, a
    ``ValueError`` is raised.
    """

    def __init__(
        self, root: Path, record: str, settings: dict, overwrite: bool = False
    ) -> None:
        self.root = root
        self.record = root / record
        self.settings: dict = json.loads(json.dumps(settings))
        try:
            there = {**json.loads(self.record.read_text())}
        except (OSError, ValueError, TypeError):  # not there, or no record
            there = {}
        self.same = there.get('settings') == self.settings
        self.ready = self.same and there.get('complete') is True
        """True if all images were there before."""
        if not (self.same or overwrite) and root.is_dir() and any(root.iterdir()):
            found = f'is not empty and has no {record} that can be read'
            if 'settings' in there:
                found = f'has images of other settings, {there["settings"]}'
            raise ValueError(
                f'{root} {found}. Pass --overwrite to replace them, or another --out.'
            )

    def begin(self, folders: Sequence[str]) -> None:
        """Record that images are being written; delete those of other settings."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.same:
            self.record.unlink(missing_ok=True)  # first: it may be interrupted
            for folder in folders:
                for old in (self.root / folder).glob('*.png'):
                    old.unlink()
        self._note(complete=False)

    def save(
        self, names: Sequence[str], make: Callable[[], Sequence[NDArray[np.uint8]]]
    ) -> None:
        """Write the images that ``make`` returns, unless they are there."""
        paths = [self.root / name for name in names]
        if all(path.is_file() for path in paths):
            return
        for path, image in zip(paths, make(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f'.{path.name}')
            partial.write_bytes(cv2.imencode('.png', image)[1].tobytes())
            partial.replace(path)

    def finish(self) -> None:
        """Record that all images are written."""
        self._note(complete=True)

    def _note(self, complete: bool) -> None:
        note = dict(settings=self.settings, complete=complete)
        with atomic_write(self.record) as partial:
            partial.write_text(json.dumps(note, indent=2) + '\n')
