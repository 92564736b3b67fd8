"""Downloads of checkpoints, kept in the cache of PyTorch's hub."""

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import torch


def is_url(filename: str) -> bool:
    """Return True for a URL that can be downloaded."""
    return filename.startswith(('http://', 'https://'))


def local_file(filename: str) -> str:
    """Return the file itself, or the cached file of a URL.

    The hub's cache goes by file names, but every file on Hugging Face is called
    ``model.safetensors``. So names get a hash of the URL, unless they contain a hash of
    the content (``vit-0676ba61.pth``; digits alone may be a date).
    """
    if not is_url(filename):
        return filename
    name = Path(urlsplit(filename).path).name
    if not re.search(r'-(?=\d*[a-f])[0-9a-f]{8,}\.', name):
        name = f'{hashlib.sha256(filename.encode()).hexdigest()[:8]}-{name}'
    return str(Path(torch.hub.get_dir(), 'checkpoints', name))


def download(url: str) -> str:
    """Download a file unless it is cached.

    Returns:
        str: Path of the file.

    Raises:
        ValueError: If it cannot be downloaded, with what to do without internet.
    """
    file = Path(local_file(url))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file))
        except OSError as error:
            raise ValueError(
                f'{url} could not be downloaded ({error}). Download it elsewhere and '
                f'save it as {file}, or name your copy: for a backbone, train '
                '--backbone FILE.'
            ) from error
    return str(file)
