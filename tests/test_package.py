"""The package: its version, its imports, the stack underneath, what is shipped."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mmcosub
from mmcosub.stack import check_stack, import_or_explain

ROOT = Path(__file__).parents[1]
STACK = {
    'torch': '2.15.0',
    'torchvision': '0.29.2',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2',
    'onedl-mmpretrain': '1.3.6',
}
INSTALL = 'pip install onedl-mmengine onedl-mmcv onedl-mmsegmentation onedl-mmpretrain'


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, '-W', 'error', '-c', code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_version() -> None:
    assert re.fullmatch(r'\d+\.\d+\.\d+', mmcosub.__version__)
    assert f'## {mmcosub.__version__}' in (ROOT / 'CHANGELOG.md').read_text()


def test_import_is_cheap_and_silent() -> None:
    code = (
        "import sys, mmcosub; print({'torch', 'mmseg', 'mmpretrain'} & {*sys.modules})"
    )
    assert python(code) == 'set()'


def test_stack_is_imported_silently() -> None:
    assert python('from mmcosub.stack import *; import_stack_quietly()') == ''


def test_everything_is_found_by_name() -> None:
    code = (
        'import mmcosub; from mmcosub.stack import import_stack_quietly as quietly;'
        'quietly(); from mmengine.registry import HOOKS, MODELS, RUNNERS;'
        "print(HOOKS.get('mmcosub.NonFiniteLossHook').__name__,"
        "RUNNERS.get('mmcosub.CoTrainingRunner').__name__,"
        "MODELS.get('mmcosub.CoTrainingEncoderDecoder').__name__)"
    )
    expected = 'NonFiniteLossHook CoTrainingRunner CoTrainingEncoderDecoder'
    assert python(code) == expected


def test_right_stack() -> None:
    check_stack(STACK.get)


@pytest.mark.parametrize(
    ('missing', 'command'),
    [
        (
            ['onedl-mmsegmentation'],
            f'mmseg, not installed here. Install with:\n  {INSTALL}',
        ),
        (['torch', 'torchvision'], f'  pip install torch torchvision\n  {INSTALL}'),
    ],
)
def test_missing(missing: list[str], command: str) -> None:
    stack = {k: v for k, v in STACK.items() if k not in missing}
    with pytest.raises(ImportError) as error:
        check_stack(stack.get)
    assert command in str(error.value)


@pytest.mark.parametrize('other', ['mmcv', 'mmcv-lite', 'mmsegmentation', 'mmengine'])
def test_both_families(other: str) -> None:
    with pytest.raises(ImportError, match='two families') as error:
        check_stack({**STACK, other: '1.0'}.get)
    uninstall = f'pip uninstall -y {other} onedl-mmengine onedl-mmcv'
    assert uninstall in str(error.value)
    assert INSTALL in str(error.value)


def test_the_older_family_alone_is_fine() -> None:
    check_stack({name.removeprefix('onedl-'): v for name, v in STACK.items()}.get)


def test_mismatched_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The label only raises the suspicion; importing decides."""
    cpu = {**STACK, 'torch': '2.15.0+cpu'}
    check_stack(cpu.get)

    def broken(name: str) -> None:
        raise RuntimeError('operator torchvision::nms does not exist')

    monkeypatch.setattr('importlib.import_module', broken)
    with pytest.raises(ImportError, match='does not fit torch') as error:
        check_stack(cpu.get)
    assert '  pip uninstall -y torch torchvision\n  pip install torch' in str(
        error.value
    )
    with pytest.raises(ImportError, match='does not fit torch'):
        import_or_explain('mmpretrain.models')
    check_stack(STACK.get)


def test_other_import_errors_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise RuntimeError('something else')

    monkeypatch.setattr('importlib.import_module', broken)
    with pytest.raises(RuntimeError, match='something else'):
        import_or_explain('mmseg.models')


def test_pins_satisfy_the_requirements() -> None:
    pins = dict(
        line.split('==')
        for line in (ROOT / 'requirements/pinned.txt').read_text().splitlines()
        if '==' in line
    )
    for name in ('runtime', 'mminstall', 'tests'):
        for line in (ROOT / f'requirements/{name}.txt').read_text().splitlines():
            if line and not line.startswith('#'):
                assert re.split('[><=]', line)[0] in pins, line


def test_python_versions_agree() -> None:
    settings = (ROOT / 'pyproject.toml').read_text()
    assert 'target-version = "py310"' in settings
    assert "python_requires='>=3.10'" in (ROOT / 'setup.py').read_text()


def test_wheel_ships_configs_and_tools(tmp_path: Path) -> None:
    pytest.importorskip('setuptools')
    copy = tmp_path / 'src'
    names = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in names:
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_file():
            target.write_bytes(source.read_bytes())
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps']
    command += ['--no-build-isolation', '-w', str(tmp_path), str(copy)]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as wheel:
        shipped = {f'mmcosub/.mim/{name}' for name in names if _shipped(name)}
        assert 'mmcosub/.mim/configs/_base_/schemes/cosub.py' in shipped
        assert shipped <= set(wheel.namelist())
        text = wheel.read('mmcosub/.mim/tools/train.py')
        assert text == (ROOT / 'tools' / 'train.py').read_bytes()


def _shipped(name: str) -> bool:
    inside = name.startswith(('configs/', 'tools/'))
    return inside and name.endswith(('.py', '.yml', '.sh'))
