"""The package: its version, its imports, the stack underneath, what is shipped."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmcosub
from mmcosub.stack import check_stack, find_stack, import_or_explain

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
    for package in ('mmcosub', 'mmcosub.cli'):
        code = (
            f'import sys, {package}; print({{"torch", "mmengine"}} & {{*sys.modules}})'
        )
        assert python(code) == 'set()'


def test_core_needs_torch_and_numpy_alone() -> None:
    # None in sys.modules: an import of it fails, as where it is not installed.
    code = (
        'import sys\n'
        "for name in ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'timm',"
        " 'torchvision'): sys.modules[name] = None\n"
        'import mmcosub.losses, mmcosub.submodels, mmcosub.co_trainer\n'
        'from torch import nn\n'
        'from mmcosub.schemes import SCHEMES\n'
        "print(SCHEMES.build(dict(type='mmcosub.Cosub', weight=0.3)).weight)\n"
        'print(len(mmcosub.submodels.known_blocks()) > 50, nn.__name__)\n'
        "print('torch._dynamo' in sys.modules)  # takes as long as torch"
    )
    assert python(code).split() == ['0.3', 'True', 'torch.nn', 'False']


def test_what_the_core_logs_is_in_the_log_of_mmengine(
    capsys: pytest.CaptureFixture,
) -> None:
    logging.getLogger('mmcosub').warning('a note of the core')
    assert 'a note of the core' in ''.join(capsys.readouterr())


@pytest.mark.slow
@pytest.mark.parametrize('package', ['checkpoints', 'models'])
def test_packages_are_imported_silently(package: str) -> None:
    """Whichever of them a script names first."""
    assert python(f'import mmcosub.{package}') == ''


def test_everything_is_found_by_name() -> None:
    """Importing us changes no finder, and importing us or the stack says nothing."""
    code = (
        'import sys; before = [*sys.meta_path]; import mmcosub.schemes;'
        'print(sys.meta_path == before, end=" "); import mmcosub.models;'
        'from mmcosub.stack import import_stack_quietly as quietly;'
        'quietly(); from mmengine.registry import HOOKS, MODELS, RUNNERS;'
        "print(HOOKS.get('mmcosub.NonFiniteLossHook').__name__,"
        "RUNNERS.get('mmcosub.CoTrainingRunner').__name__,"
        "MODELS.get('mmcosub.CoTrainingEncoderDecoder').__name__)"
    )
    expected = 'True NonFiniteLossHook CoTrainingRunner CoTrainingEncoderDecoder'
    assert python(code) == expected


def test_right_stack() -> None:
    check_stack(STACK.get)


OPENMMLAB = {
    'torch': '2.6.0',
    'torchvision': '0.21.0',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmsegmentation': '1.2.2',
    'mmpretrain': '1.2.0',
}


def test_right_stack_of_the_other_family() -> None:
    check_stack(OPENMMLAB.get)
    lite = {**OPENMMLAB, 'mmcv-lite': '2.1.0'}
    del lite['mmcv']
    check_stack(lite.get)


@pytest.mark.parametrize(
    ('stack', 'missing', 'said'),
    [
        (STACK, ['onedl-mmsegmentation'], f'needs mmseg, not.*\n  {INSTALL}$'),
        (STACK, ['torchvision'], 'needs torchvision, .*with:\n  pip install torch t'),
        (STACK, [*STACK], f'Install with:\n  pip install torch .*\n  {INSTALL}$'),
        # Of the family that is there, or the two would overwrite each other.
        (
            OPENMMLAB,
            ['mmpretrain'],
            'There is .*mmcv 2.1.0.*\n  pip install mmpretrain$',
        ),
        (
            OPENMMLAB,
            ['mmsegmentation', 'mmcv'],
            'needs mmcv, mmseg, .*\n  pip install mmcv mmsegmentation$',
        ),
    ],
)
def test_missing(stack: dict, missing: list[str], said: str) -> None:
    rest = {k: v for k, v in stack.items() if k not in missing}
    with pytest.raises(ImportError) as error:
        check_stack(rest.get)
    assert re.search(said, str(error.value), re.DOTALL), error.value


@pytest.mark.parametrize('other', ['mmcv', 'mmcv-lite', 'mmsegmentation', 'mmengine'])
def test_both_families(other: str) -> None:
    with pytest.raises(ImportError, match='two families') as error:
        check_stack({**STACK, other: '1.0'}.get)
    said = str(error.value)
    assert f'{other} 1.0' in said
    assert 'onedl-mmengine 0.10.12' in said
    uninstall = next(line for line in said.splitlines() if 'uninstall' in line)
    assert {*uninstall.split()} >= {other, *STACK} - {'torch', 'torchvision'}
    assert said.endswith(INSTALL)


@pytest.mark.parametrize(
    ('name', 'version', 'oldest'),
    [
        ('torch', '2.5.1', 'torch>=2.6'),
        ('mmsegmentation', '0.30.0', 'mmsegmentation>=1.2'),
        ('mmcv', '1.7.2', 'mmcv>=2.0'),
    ],
)
def test_too_old(name: str, version: str, oldest: str) -> None:
    with pytest.raises(ImportError) as error:
        check_stack({**OPENMMLAB, name: version}.get)
    assert f'mmcosub needs {oldest}. There is torch' in str(error.value)
    assert f'{name} {version}' in str(error.value)


@pytest.mark.parametrize('version', ['2.6.0a0+nv25.01', '2.6', '2.10.0', '3.0.0.dev1'])
def test_not_too_old(version: str) -> None:
    check_stack({**OPENMMLAB, 'torch': version}.get)


def test_what_is_found() -> None:
    found = find_stack({**STACK, 'mmcv-lite': '2.1.0'}.get)
    assert set(found) == {'torch', 'OneDL', 'OpenMMLab'}
    assert found['OpenMMLab'] == [('mmcv', 'mmcv-lite', '2.1.0')]
    assert [each.package for each in found['OneDL']] == [
        'mmengine',
        'mmcv',
        'mmseg',
        'mmpretrain',
    ]
    assert find_stack({}.get) == {}


def test_compiled_operators_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'mmcv._ext'")

    monkeypatch.setattr('importlib.import_module', broken)
    with pytest.raises(ImportError, match='rather than mmcv-lite') as error:
        import_or_explain('mmseg.models')
    assert str(error.value).endswith(INSTALL)


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


def normal(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub('[-_.]+', '-', name).lower()


def test_pins_satisfy_the_requirements() -> None:
    pins = {
        normal(line.split('==')[0])
        for line in (ROOT / 'requirements/pinned.txt').read_text().splitlines()
        if '==' in line
    }
    for name in ('runtime', 'mminstall', 'optional', 'tests', 'docs'):
        for line in (ROOT / f'requirements/{name}.txt').read_text().splitlines():
            if line and not line.startswith('#'):
                assert normal(re.split('[><=]', line)[0]) in pins, line


def test_the_lock_has_every_pin_and_a_hash_for_each() -> None:
    text = (ROOT / 'requirements/locked.txt').read_text()
    locked = re.findall(
        r'^(\S+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}$', text, re.M
    )
    assert len(locked) == text.count('==')

    versions = {normal(name): version for name, version in locked}
    for line in (ROOT / 'requirements/pinned.txt').read_text().splitlines():
        if '==' in line:
            name, version = line.split('==')
            assert versions.get(normal(name)) == version, line
    assert {'torch', 'numpy'} < versions.keys()


def test_python_versions_agree() -> None:
    settings = (ROOT / 'pyproject.toml').read_text()
    assert 'target-version = "py310"' in settings
    assert "python_requires='>=3.10'" in (ROOT / 'setup.py').read_text()
