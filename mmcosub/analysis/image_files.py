"""Image files that a user names, and a name for the outputs of each."""

import glob
import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from mmcosub.datasets.listing import images_in


def find_images(
    given: Sequence[str], out: Path, suffixes: Collection[str] = ()
) -> dict[Path, str]:
    """Find images in files, folders (nested) and glob patterns.

    Args:
        given (Sequence[str]): Files, folders and patterns.
        out (Path): Folder of the outputs, where no image is looked for.
        suffixes (Collection[str]): File endings of images in addition to the usual
            ones, in lower case. Defaults to ().

    Returns:
        dict[Path, str]: Name of the outputs, by image: its path without the ending
        below the folder that all have in common. The ending stays if two images would
        have the same name otherwise.

    Raises:
        ValueError: If something given has no image.
    """
    endings = {*IMG_EXTENSIONS, *suffixes}
    files: dict[Path, None] = {}
    folders: list[str] = []
    for each in given:
        matches = [each] if os.path.exists(each) else glob.glob(each, recursive=True)
        found = 0
        for match in sorted(matches):
            folder = match if os.path.isdir(match) else os.path.dirname(match)
            folders.append(os.path.abspath(folder))
            path = Path(match)
            for inside in images_in(path, endings) if path.is_dir() else [path]:
                file = Path(os.path.abspath(inside))
                if Path(os.path.abspath(out)) not in file.parents:
                    files[file] = None
                    found += 1
        if not found:
            raise ValueError(
                f'There is no image at {each}. Name files, folders with images '
                f'({", ".join(sorted(endings))}), or a pattern in quotes, such as '
                "'photos/**/*.jpg'."
            )
    root = os.path.commonpath(folders)
    names = {file: os.path.relpath(file, root) for file in files}
    short = {file: os.path.splitext(name)[0] for file, name in names.items()}
    return short if max(Counter(short.values()).values()) == 1 else names
