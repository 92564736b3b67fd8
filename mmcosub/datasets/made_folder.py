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
    other settings and other files are replaced on request only.

    Args:
        root (Path): The folder.
        record (str): Name of the record in it.
        settings (dict): Settings of the images.
        overwrite (bool): Replace images of other settings. Defaults to False.

    Raises:
        ValueError: If the folder has images of other settings, files without a record,
            or an unreadable record.
    """

    def __init__(
        self, root: Path, record: str, settings: dict, overwrite: bool = False
    ) -> None:
        self.root = root
        self.record = root / record
        self.settings: dict = json.loads(json.dumps(settings))
        there = self.before = self._read(overwrite)
        self.same = there.get('settings') == self.settings
        self.ready = self.same and there.get('complete') is True
        """True if all images exist."""
        if overwrite:
            return
        if there and not self.same:
            raise ValueError(
                f'{root} has images of other settings, {there["settings"]}. Pass '
                '--overwrite to replace them, or another --out.'
            )
        if not there and root.is_dir() and any(root.iterdir()):
            raise ValueError(
                f'{root} is not empty and has no {record}. Pass --overwrite to write '
                'into it, or another --out.'
            )

    def begin(self, folders: Sequence[str]) -> None:
        """Record that images are being written; delete those of other settings."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.same:
            # Record the new settings once all old images are deleted: if interrupted
            # before, the folder is an incomplete one of the old settings.
            if self.before:
                self._note(self.before['settings'], complete=False)
            for folder in folders:
                for old in (self.root / folder).glob('*.png'):
                    old.unlink()
        self._note(self.settings, complete=False)

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
        self._note(self.settings, complete=True)
        self.ready = True

    def _read(self, overwrite: bool) -> dict:
        """Read the record; empty if there is none or it may be replaced."""
        if not self.record.is_file():
            return {}
        try:
            there = json.loads(self.record.read_text())
            why = 'it has no settings'
        except ValueError as error:
            there, why = None, str(error)
        if isinstance(there, dict) and 'settings' in there:
            return there
        if overwrite:
            return {}
        raise ValueError(
            f'{self.record} cannot be read ({why}). Pass --overwrite to make all '
            'images again, or another --out.'
        )

    def _note(self, settings: dict, complete: bool) -> None:
        note = dict(settings=settings, complete=complete)
        with atomic_write(self.record) as partial:
            partial.write_text(json.dumps(note, indent=2) + '\n')
