"""What is built of the package: its metadata, its wheel, its source distribution."""

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import mmcosub
from mmcosub.stack import OLDEST

ROOT = Path(__file__).parents[1]
BUILD = 'from setuptools import build_meta as b; import sys; b.build_{}(sys.argv[1])'
ONEDL = {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'onedl-mmpretrain'}

pytest.importorskip('setuptools')


def tracked() -> list[str]:
    """Files of the repository, those not committed yet included."""
    command = ['git', 'ls-files', '-co', '--exclude-standard']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split() if (ROOT / name).exists()]


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a wheel or an sdist; returns the file."""
    target.mkdir(exist_ok=True)
    command = [sys.executable, '-c', BUILD.format(kind), str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = target.iterdir()
    return file


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp('source')
    for name in tracked():
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            os.link(source, target) if _same_disk(source, copy) else target.write_bytes(
                source.read_bytes()
            )
    return copy


def _same_disk(source: Path, target: Path) -> bool:
    return source.stat().st_dev == target.stat().st_dev


@pytest.fixture(scope='module')
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build('wheel', source, tmp_path_factory.mktemp('wheel')))


@pytest.fixture(scope='module')
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith('.dist-info/METADATA'))
    return email.message_from_bytes(wheel.read(name))


def test_metadata(metadata: Message) -> None:
    assert metadata['Name'] == 'mmcosub'
    assert metadata['Version'] == mmcosub.__version__
    assert metadata['License'] == 'Apache-2.0'
    assert metadata['License-File'] == 'LICENSE'
    assert metadata['Requires-Python'] == '>=3.10'
    assert 'stochastic depth' in metadata['Keywords']
    assert 'Typing :: Typed' in metadata.get_all('Classifier')
    urls = [url.split(', ')[1] for url in metadata.get_all('Project-URL')]
    assert all(url.startswith('https://') for url in urls)


def test_readme_shows_on_an_index(metadata: Message) -> None:
    text = metadata.get_payload()
    assert metadata['Description-Content-Type'] == 'text/markdown'
    assert '# mmcosub' in text
    assert '<img' not in text
    assert re.findall(r'\]\((?!https?:)[^)]*\)', text) == []


def requirements(metadata: Message, extra: str = '') -> list[Requirement]:
    """What is required, of an extra alone or of the core."""
    wanted = [Requirement(r) for r in metadata.get_all('Requires-Dist')]
    if not extra:
        return [r for r in wanted if r.marker is None]
    return [r for r in wanted if r.marker and r.marker.evaluate({'extra': extra})]


def test_nothing_is_installed_over_what_is_there(metadata: Message) -> None:
    """The core needs no family, and no version of what mmcv is compiled for."""
    core = [str(r) for r in requirements(metadata)]
    assert sorted(core) == [
        *('jinja2', 'matplotlib', 'numpy', 'packaging', 'pillow'),
        *('torch', 'torchvision'),
    ]


def test_the_maintained_family_is_an_extra(metadata: Message) -> None:
    wanted = requirements(metadata, 'onedl')
    assert {r.name for r in wanted} == {*ONEDL, 'numpy', 'torch', 'torchvision'}
    for requirement in wanted:
        package = requirement.name.removeprefix('onedl-')
        package = package.replace('mmsegmentation', 'mmseg')
        (bound,) = requirement.specifier
        assert bound.operator == '>='
        # What import refuses nothing asks for.
        assert Version(bound.version) >= Version(OLDEST.get(package, '0'))


def test_promised_extras(metadata: Message) -> None:
    assert {'onedl', 'optional', 'tests', 'docs'} == {
        *metadata.get_all('Provides-Extra')
    }
    assert 'tensorboard' in {r.name for r in requirements(metadata, 'optional')}


def test_wheel_ships_configs_and_tools(wheel: zipfile.ZipFile) -> None:
    shipped = {f'mmcosub/.mim/{name}' for name in tracked() if _shipped(name)}
    assert 'mmcosub/.mim/configs/_base_/schemes/cosub.py' in shipped
    assert 'mmcosub/.mim/configs/cosub/README.md' in shipped
    assert 'mmcosub/.mim/model-index.yml' in wheel.namelist()
    assert shipped <= set(wheel.namelist())
    text = wheel.read('mmcosub/.mim/tools/train.py')
    assert text == (ROOT / 'tools' / 'train.py').read_bytes()
    # Of the report, which is written where there is no checkout.
    assert 'mmcosub/report/templates/report.html.jinja' in wheel.namelist()
    assert 'mmcosub/report/templates/report.css' in wheel.namelist()
    packages = {name.split('/')[0] for name in wheel.namelist()}
    assert packages == {'mmcosub', f'mmcosub-{mmcosub.__version__}.dist-info'}


def installed(
    wheel: zipfile.ZipFile, folder: Path, *argv: str
) -> subprocess.CompletedProcess:
    """Run the command from an unpacked wheel, away from a checkout."""
    wheel.extractall(folder / 'installed')
    return subprocess.run(
        [sys.executable, '-m', 'mmcosub', *argv],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(folder / 'installed')},
        capture_output=True,
        text=True,
    )


def test_wheel_has_the_command(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith('entry_points.txt'))
    assert 'mmcosub = mmcosub.cli:main' in wheel.read(name).decode()
    done = installed(wheel, tmp_path, 'train', '--help')
    assert done.returncode == 0, done.stderr
    assert 'usage: mmcosub train [' in done.stdout


@pytest.mark.slow
def test_wheel_finds_its_configs(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    done = installed(wheel, tmp_path, 'train', 'mmcosub::cosub/none.py')
    assert done.returncode == 2
    assert 'In that folder there are: swin-base-patch4-window7_upernet' in done.stderr


def _shipped(name: str) -> bool:
    inside = name.startswith(('configs/', 'tools/'))
    return inside and name.endswith(('.py', '.yml', '.md', '.sh'))


def test_sdist_has_all_and_builds_the_same_wheel(
    source: Path, wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    with tarfile.open(build('sdist', source, tmp_path / 'sdist')) as sdist:
        names = {name.partition('/')[2] for name in sdist.getnames()}
        sdist.extractall(tmp_path, filter='data')
    wanted = {n for n in tracked() if not n.startswith('.') and '.mim' not in n}
    assert wanted - names == set()
    assert {'tests/test_distribution.py', 'docs/fast.md', 'CHANGELOG.md'} <= names
    assert not any(name.endswith('.pyc') for name in names)
    (unpacked,) = tmp_path.glob('mmcosub-*')
    again = zipfile.ZipFile(build('wheel', unpacked, tmp_path / 'wheel'))
    assert sorted(again.namelist()) == sorted(wheel.namelist())
