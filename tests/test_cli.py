"""The command `mmcosub`."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmcosub
from mmcosub.cli import main
from mmcosub.cli.info import describe
from mmcosub.cli.main import scripts
from mmcosub.names import list_schemes
from mmcosub.submodels import known_blocks

ROOT = Path(__file__).parents[1]


def run(*argv: str, code: str = '', cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    command = ['-c', code] if code else ['-m', 'mmcosub']
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(
        [sys.executable, *command, *argv],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
    )


def test_commands(capsys: pytest.CaptureFixture) -> None:
    """Every script of tools/ is one."""
    files = [p for p in (ROOT / 'tools').rglob('*.py') if '__pycache__' not in p.parts]
    assert sorted(p.resolve() for p in scripts().values()) == sorted(files)
    assert {'train', 'test', 'convert', 'browse'} <= set(scripts())
    assert main([]) == main(['--help']) == 0
    text = capsys.readouterr().out
    for name in (*scripts(), 'info', 'completion'):
        (line,) = {line for line in text.splitlines() if line.split()[:1] == [name]}
        assert len(line.split()) > 3, line  # says what it does


@pytest.mark.parametrize('name', [*scripts(), 'info', 'completion'])
def test_help_of_each(name: str, capsys: pytest.CaptureFixture) -> None:
    before = list(sys.argv)
    with pytest.raises(SystemExit) as exit_:
        main([name, '--help'])
    assert exit_.value.code == 0
    assert f'usage: mmcosub {name} [' in capsys.readouterr().out
    assert sys.argv == before


def test_arguments_reach_the_script(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ['scheme.drop_path_rate=0.3', 'train_cfg.max_iters=1']
    main(['train', str(config), '--co-train', 'cosub', '--cfg-options', *options])
    assert (tmp_path / 'w' / 'iter_1.pth').is_file()
    with pytest.raises(SystemExit) as exit_:
        main(['train', 'nothing.py'])
    assert exit_.value.code == 2
    assert 'mmcosub train: error: No config file nothing.py' in capsys.readouterr().err


def test_unknown_command(capsys: pytest.CaptureFixture) -> None:
    assert main(['trian']) == 2
    said = capsys.readouterr().err
    assert "no command 'trian'. Did you mean 'train'? Commands: " in said


@pytest.mark.parametrize('argv', [['--help'], ['--version'], ['train', '--help']])
def test_help_waits_for_neither_torch_nor_mmengine(argv: list[str]) -> None:
    code = (
        'import sys\n'
        'from mmcosub.cli import main\n'
        'try:\n    main()\nexcept SystemExit:\n    pass\n'
        "print([m for m in ('torch', 'mmengine', 'cv2', 'numpy') if m in sys.modules])"
    )
    done = run(*argv, code=code)
    assert done.stdout.splitlines()[-1] == '[]', done.stdout + done.stderr


def test_info_is_without_the_stack() -> None:
    """It imports torch and mmcv, but no models."""
    code = (
        'import sys\n'
        'from mmcosub.cli.info import describe\n'
        'describe()\n'
        "print([m for m in ('mmseg', 'mmpretrain') if m in sys.modules])"
    )
    assert run(code=code).stdout.splitlines()[-1] == '[]'


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'{mmcosub.__version__}\n'


def test_info() -> None:
    text, works = describe()
    assert works
    assert text.endswith('No problems found.')
    assert f'mmcosub {mmcosub.__version__} in {ROOT / "mmcosub"}' in text
    assert f'Schemes: {", ".join(list_schemes())}\n' in text
    for name in known_blocks():
        package, _, cls = name.partition('.')
        (line,) = [x for x in text.splitlines() if x.startswith(f'  {package}: ')]
        assert cls.rpartition('.')[2] in line


def test_info_where_the_stack_is_wrong(tmp_path: Path) -> None:
    """It describes what import refuses."""
    code = (
        'import importlib.metadata as m, sys\n'
        'asked = m.version\n'
        'def version(name):\n'
        "    if name.endswith('mmpretrain'):  # of either family\n"
        '        raise m.PackageNotFoundError(name)\n'
        '    return asked(name)\n'
        'm.version = version\n'
        "sys.argv = ['mmcosub', *sys.argv[1:]]\n"
        'from mmcosub.cli import main\n'
        'sys.exit(main())\n'
    )
    done = run('info', code=code, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert 'mmengine ' in done.stdout
    assert 'Wrong: mmcosub needs mmpretrain, not installed here. ' in done.stdout
    other = run('train', code=code, cwd=tmp_path)
    assert other.returncode == 2  # one message, no traceback
    assert other.stderr.startswith('mmcosub needs mmpretrain')


def test_as_a_module(tmp_path: Path) -> None:
    done = run('train', cwd=tmp_path)
    assert done.returncode == 2
    assert 'mmcosub train: error: the following arguments are required' in done.stderr


@pytest.fixture(scope='module')
def completion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('shtab')
    file = tmp_path_factory.mktemp('completion') / 'mmcosub.sh'
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert not main(['completion', 'bash'])
    file.write_text(said.getvalue())
    return file


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        (['tr'], {'train'}),
        (['in'], {'info', 'init'}),
        (['train', '--co-train', 'aug'], {'augdrop', 'augmask', 'augpath'}),
        (['train', '--la'], {'--launcher'}),
        (['test', '--launcher', 's'], {'slurm'}),
        (['convert', 'a.pth', '--to', 'mm'], {'mmpretrain', 'mmseg'}),
        (['completion', 'z'], {'zsh'}),
        (['train', 'conf'], {'configs'}),
    ],
)
def test_completion(completion: Path, line: list[str], expected: set[str]) -> None:
    words = ' '.join(f'"{word}"' for word in ['mmcosub', *line])
    script = (
        f'source {completion}; COMP_WORDS=({words}); COMP_CWORD={len(line)}; '
        '_shtab_mmcosub; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(['bash', '-c', script], capture_output=True, text=True)
    assert done.stderr == ''
    assert {*done.stdout.split()} == expected


def test_completion_of_another_shell(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(['completion', 'fish'])
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert "mmcosub completion: error: argument shell: invalid choice: 'fish'" in said
