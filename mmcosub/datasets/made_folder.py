"""A folder of pictures that a script makes from settings."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class MadeFolder:
    """A folder of pictures, and a record of the settings that they are made from.

    Making them may be stopped at any moment and goes on where it was. Pictures of
    other settings, and files of others, are replaced only if that is asked for.

    Args:
        root (Path): The folder.
        record (str): Name of the record in it.
        settings (dict): What the pictures are made from.
        overwrite (bool): Whether pictures of other settings may be replaced. Defaults
            to False.

    Raises:
        ValueError: If the folder has other pictures, or files and no record.
    """

    def __init__(
        self, root: Path, record: str, settings: dict, overwrite: bool = False
    ) -> None:
        self.root = root
        self.record = root / record
        self.settings: dict = json.loads(json.dumps(settings))
        there = json.loads(self.record.read_text()) if self.record.is_file() else {}
        self.same = there.get('settings') == self.settings
        self.ready = self.same and there.get('complete') is True
        """Whether all pictures are there."""
        if there and not self.same and not overwrite:
            raise ValueError(
                f'{root} has pictures of other settings, {there["settings"]}. Pass '
                '--overwrite to replace them, or another --out.'
            )
        occupied = root.is_dir() and any(root.iterdir())
        if occupied and not there and not overwrite:
            raise ValueError(
                f'{root} is not empty and has no {record}. Pass --overwrite to write '
                'into it, or another --out.'
            )

    def begin(self, folders: Sequence[str]) -> None:
        """Note that pictures are being made.

        Args:
            folders (Sequence[str]): Folders inside, for pictures. Pictures that are in
                them are removed, unless they are of the same settings.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._note(complete=False)
        for folder in folders:
            for old in [] if self.same else (self.root / folder).glob('*.png'):
                old.unlink()

    def save(self, names: Sequence[str], make: Callable[[], Sequence[Image]]) -> None:
        """Make some pictures, unless a run that was stopped already has.

        Args:
            names (Sequence[str]): Their files, inside the folder.
            make (Callable): Makes them, in this order.
        """
        paths = [self.root / name for name in names]
        if all(path.is_file() for path in paths):
            return
        for path, image in zip(paths, make(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Whole or not at all.
            partial = path.with_name(f'.{path.name}')
            partial.write_bytes(cv2.imencode('.png', image)[1].tobytes())
            os.replace(partial, path)

    def finish(self) -> None:
        """Note that all pictures are there."""
        self._note(complete=True)
        self.ready = True

    def _note(self, complete: bool) -> None:
        note = dict(settings=self.settings, complete=complete)
        self.record.write_text(json.dumps(note, indent=2) + '\n')
