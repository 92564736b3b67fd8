"""Downloads of checkpoints, kept in the cache of PyTorch's hub."""

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import torch


def is_url(filename: str) -> bool:
    """Tell a URL that can be downloaded from a file and other addresses."""
    return filename.startswith(('http://', 'https://'))


def local_file(filename: str) -> str:
    """Return the file itself, or where the download of a URL is kept.

    There the file's name alone is taken, and every file on Hugging Face is called
    ``model.safetensors``: others get a hash of the URL. A name with a hash of the
    content (``vit-0676ba61.pth``; one of digits only may be a date) stays as it is, so
    that what others have downloaded is found.

    Args:
        filename (str): A file or URL.
    """
    if not is_url(filename):
        return filename
    name = Path(urlsplit(filename).path).name
    if not re.search(r'-(?=\d*[a-f])[0-9a-f]{8,}\.', name):
        name = f'{hashlib.sha256(filename.encode()).hexdigest()[:8]}-{name}'
    return str(Path(torch.hub.get_dir(), 'checkpoints', name))


def download(url: str) -> str:
    """Download a file unless it is there.

    Args:
        url (str): Its address.

    Returns:
        str: The file.

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
