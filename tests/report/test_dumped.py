"""A run's folder is data: nothing in it is run."""

import json
import math
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import load_tool
from mmengine.config import Config

from mmcosub.report.run import read_settings

PROGRAMS = {
    'statement': 'import os\nos.mkdir({mark!r})\nmodel = dict(type="A")\n',
    'call': 'model = dict(type=__import__("os").mkdir({mark!r}))\n',
    'class': 'class A:\n    import os\n    os.mkdir({mark!r})\nmodel = dict()\n',
    'default': 'model = dict(a=(lambda x=open({mark!r}, "w"): x)())\n',
    'base': '_base_ = "./evil_base.py"\nmodel = dict(type="A")\n',
    'template': 'model = dict(type={{{{__import__("os").mkdir({mark!r})}}}})\n',
    'import': 'custom_imports = dict(imports=["evil_base"])\nmodel = dict(type="A")\n',
}
DOORS = {
    'report': ('report', ['{run}', '--out', '{page}']),
    'analyze-logs': (
        'analyze_logs',
        ['plot_curve', '{run}', '--keys', 'loss', '--out', '{page}.png'],
    ),
    'cal_train_time': ('analyze_logs', ['cal_train_time', '{run}']),
}


@pytest.fixture
def run(plain_run: Path, tmp_path: Path) -> Path:
    """A copy of a run with two starts, as logs are joined only then."""
    copy = Path(shutil.copytree(plain_run, tmp_path / 'run'))
    (first,) = copy.glob('2*')
    shutil.copytree(first, first.with_name('29990101_000000'))
    return copy


@pytest.mark.parametrize('door', list(DOORS))
@pytest.mark.parametrize('program', list(PROGRAMS))
def test_no_door_runs_a_program(
    run: Path,
    tmp_path: Path,
    door: str,
    program: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = tmp_path / 'it_ran'
    monkeypatch.syspath_prepend(run)
    for file in [*run.glob('*.py'), *run.glob('*/vis_data/config.py')]:
        file.write_text(PROGRAMS[program].format(mark=str(mark)))
    (run / 'evil_base.py').write_text(f'import os\nos.mkdir({str(mark)!r})\n')
    outside = tmp_path / 'outside.py'
    outside.write_text(f'import os\nos.mkdir({str(mark)!r})\nmodel = dict()\n')
    for file in run.glob('*/facts.json'):
        facts = json.loads(file.read_text())
        file.write_text(json.dumps({**facts, 'config': str(outside)}))
    tool, argv = DOORS[door]
    filled = [text.format(run=run, page=tmp_path / 'page.html') for text in argv]
    with suppress(SystemExit):
        load_tool(f'analysis_tools/{tool}').main(filled)
    assert not mark.exists()


def test_facts_of_a_config_outside(run: Path, tmp_path: Path) -> None:
    """The page is written all the same where the dumped config is as it was."""
    mark, outside = tmp_path / 'it_ran', tmp_path / 'outside.py'
    outside.write_text(f'open({str(mark)!r}, "w")\nmodel = dict()\n')
    for file in run.glob('*/facts.json'):
        file.write_text(json.dumps({'config': str(outside)}))
    page = tmp_path / 'page.html'
    load_tool('analysis_tools/report').main([str(run), '--out', str(page)])
    assert page.is_file()
    assert not mark.exists()


def test_the_data_are_what_mmengine_reads(cosub_run: Path, tmp_path: Path) -> None:
    strange = Config(
        dict(
            model=dict(a=-1.5, b=(1, (2,)), c=[dict(d=None), 'x'], e={'f.g': -2, 3: 4}),
            empty=dict(h=dict(), i=[], j=()),
            words='it\'s "quoted"\nand more',
            many=[[1, 2], [(3, 4)]],
        )
    )
    strange.dump(tmp_path / 'strange.py')
    for file in [tmp_path / 'strange.py', *cosub_run.glob('*/vis_data/config.py')]:
        assert read_settings(file).to_dict() == Config.fromfile(file).to_dict()
    (tmp_path / 'n.py').write_text('model = dict(a=inf, b=-inf, c=nan, d=torch.nn.A)')
    model = read_settings(tmp_path / 'n.py').model
    assert (model.a, model.b, model.d) == (math.inf, -math.inf, 'torch.nn.A')
    assert math.isnan(model.c)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('model = dict(**a)', 'line 1 has more than literals'),
        ('\nmodel = dict([])', 'line 2 has more than literals'),
        ('model = 1 if', 'invalid syntax'),
        ('a = dict()', r'no model=dict\('),
        ('model = dict()\ndel model', 'line 2 is no assignment'),
    ],
)
def test_what_is_no_data(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / 'a.py').write_text(text)
    with pytest.raises(ValueError, match=rf'a\.py is not the data .*{said}'):
        read_settings(tmp_path / 'a.py')
