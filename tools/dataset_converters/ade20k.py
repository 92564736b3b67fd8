#!/usr/bin/env python
"""Prepare ADE20K (ADEChallengeData2016): download or use an archive, check, extract.

An interrupted run is continued; a complete data set is left as it is.
"""

import argparse
import http.client
import os
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

from mmcosub.arguments import OneLineParser, add_shared_arguments
from mmcosub.config.errors import explained_errors

URL = 'http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip'
ROOT = 'ADEChallengeData2016'
# Files in each folder. Source: the dataset's own description.
COUNTS = {
    'images/training': 20210,
    'images/validation': 2000,
    'annotations/training': 20210,
    'annotations/validation': 2000,
}


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(description=__doc__)
    parser.add_argument(
        '--out', type=Path, default=Path('data/ade'), help=f'parent folder of {ROOT}'
    )
    parser.add_argument('--archive', type=Path, help='the .zip, instead of a download')
    parser.add_argument('--url', default=URL, help='where to download the .zip from')
    add_shared_arguments(parser, '--debug')
    return parser


def suffix_of(folder: str) -> str:
    return '.jpg' if folder.startswith('images') else '.png'


def missing(root: Path, counts: Mapping[str, int]) -> list[str]:
    """What is not there yet, folder by folder; empty if the dataset is complete."""
    problems = []
    for folder, count in counts.items():
        pattern = f'*{suffix_of(folder)}'
        found = sum(1 for _ in (root / folder).glob(pattern))
        if found != count:
            problems.append(f'{folder} has {found} of {count} files {pattern}')
    return problems


def download(url: str, target: Path) -> Path:
    """Download a file, continuing a part of it that is already there.

    Raises:
        ValueError: If the server cannot be reached or sends less than it announced.
    """
    if target.is_file():
        return target
    part = target.with_name(f'{target.name}.part')
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url)
    if start:
        request.add_header('Range', f'bytes={start}-')
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:  # 416: the part is complete
            raise ValueError(f'{url} cannot be downloaded: {error}.') from error
        os.replace(part, target)
        return target
    except OSError as error:
        raise ValueError(
            f'{url} cannot be reached: {error}. Download it some other way and pass '
            '--archive PATH.'
        ) from error
    with response:
        if response.status != 206:  # the server starts anew, and so must the file
            start = 0
        total = start + int(response.headers.get('Content-Length', 0))
        free = shutil.disk_usage(target.parent).free
        if total - start > free:
            raise ValueError(f'{target.parent} has {free} bytes free, not {total}.')
        columns = (TextColumn('download'), BarColumn(), DownloadColumn())
        with (
            part.open('ab' if start else 'wb') as file,
            Progress(*columns, TimeRemainingColumn()) as progress,
        ):
            bar = progress.add_task('', total=total or None, completed=start)
            try:
                while chunk := response.read(1 << 20):
                    file.write(chunk)
                    progress.advance(bar, len(chunk))
            except (OSError, http.client.HTTPException) as error:
                raise ValueError(
                    f'The download of {url} stopped: {error}. Run the command again '
                    'to go on.'
                ) from error
    if total and part.stat().st_size != total:
        raise ValueError(
            f'The server sent {part.stat().st_size} of {total} bytes. Run the command '
            'again to go on.'
        )
    os.replace(part, target)
    return target


def members(
    archive: zipfile.ZipFile, counts: Mapping[str, int]
) -> list[zipfile.ZipInfo]:
    """The dataset's files in an archive; what lies beside its folder is left out.

    Raises:
        ValueError: If a name leads out of the archive or files are missing.
    """
    found = []
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or '..' in path.parts or '\\' in info.filename:
            raise ValueError(
                f'{archive.filename} has a file that would land elsewhere: '
                f'{info.filename}. That is not the official archive.'
            )
        if path.parts[:1] == (ROOT,) and not info.is_dir():
            found.append(info)
    for folder, count in counts.items():
        prefix = f'{ROOT}/{folder}/'
        inside = sum(
            i.filename.startswith(prefix) and i.filename.endswith(suffix_of(folder))
            for i in found
        )
        if inside != count:
            raise ValueError(
                f'{archive.filename} has {inside} files *{suffix_of(folder)} in '
                f'{ROOT}/{folder}, not {count}. Is it ADEChallengeData2016.zip, and '
                'complete?'
            )
    return found


def extract(path: Path, out: Path, counts: Mapping[str, int]) -> None:
    """Extract what is not there yet.

    Raises:
        ValueError: If the archive is none, or not the dataset, or corrupt, or the
            disk has not enough room.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            left = [
                info
                for info in members(archive, counts)
                if not is_extracted(info, out / info.filename)
            ]
            need, free = sum(i.file_size for i in left), shutil.disk_usage(out).free
            if need > free:
                raise ValueError(f'{out} has {free} bytes free, not {need}.')
            for info in track(left, description='extract'):
                target = out / info.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                # Files are written atomically.
                partial = target.with_name(f'.{target.name}.part')
                with archive.open(info) as source, partial.open('wb') as file:
                    shutil.copyfileobj(source, file)
                os.replace(partial, target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f'{path} is not a complete .zip ({error}). Delete it and download it again.'
        ) from error
    except OSError as error:
        raise ValueError(
            f'The extraction into {out} stopped: {error}. Run the command again to go '
            'on.'
        ) from error


def is_extracted(info: zipfile.ZipInfo, target: Path) -> bool:
    return target.is_file() and target.stat().st_size == info.file_size


def main(
    argv: Sequence[str] | None = None, counts: Mapping[str, int] | None = None
) -> None:
    parser = make_parser()
    args = parser.parse_args(argv)
    counts = counts or COUNTS
    root = args.out / ROOT
    with explained_errors(parser.prog, args.debug):
        if not missing(root, counts):
            print(f'{root} is ready: {sum(counts.values())} files.')
            return
        if args.archive and not args.archive.is_file():
            raise ValueError(f'--archive: there is no file {args.archive}.')
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.archive or download(args.url, args.out / f'{ROOT}.zip')
        extract(path, args.out, counts)
        if problems := missing(root, counts):
            raise ValueError(f'{root} is not complete: {"; ".join(problems)}.')
    print(f'{root} is ready: {sum(counts.values())} files.')
    if not args.archive:
        print(f'{path} is not needed any more.')


if __name__ == '__main__':
    main()
