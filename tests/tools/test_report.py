"""mmcosub report: what is on the page, and what bad input gets."""

import json
import re
import shutil
from html import unescape
from pathlib import Path
from types import ModuleType

import pytest
from conftest import load_tool
from stock import segmentation_config, write_config

FLAGS = {'--help', '--out', '--debug'}
tool = load_tool('analysis_tools/report')


@pytest.fixture(scope='module')
def run(
    train: ModuleType, tmp_path_factory: pytest.TempPathFactory, scenes: Path
) -> Path:
    """Work directory of a co-trained run."""
    root = tmp_path_factory.mktemp('report')
    path = write_config(root / 'tiny.py', segmentation_config(scenes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', '0')
        options = ['--co-train', 'cosub', '--cfg-options', 'scheme.weight=0.25']
        train.main([str(path), '--work-dir', str(root / '<run>'), *options])
    return root / '<run>'


def report(*argv: object) -> str:
    """Text of the page that the tool writes."""
    tool.main([str(each) for each in argv])
    out = Path(str(argv[argv.index('--out') + 1]))
    return out.read_text(encoding='utf-8')


def refused(capsys: pytest.CaptureFixture, *argv: object) -> str:
    """What the tool says of what it refuses."""
    with pytest.raises(SystemExit) as exit_:
        tool.main([str(each) for each in argv])
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    return said


def words(html: str) -> str:
    """The text of a page, in one line."""
    html = re.sub(r'<[^>]*>', ' ', html.replace('<wbr>', ''))
    return ' '.join(unescape(html).split())


def test_flags() -> None:
    """A flag that comes or goes is a decision, also about this list."""
    options = tool.make_parser()._option_string_actions
    assert {name for name in options if name.startswith('--')} == FLAGS


def test_one_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'new' / 'page.html'
    html = report(run, '--out', out)
    assert f'Wrote {out}, 0.' in capsys.readouterr().out
    log = next(run.glob('*/vis_data/scalars.json')).read_text().splitlines()
    (miou,) = (r['mIoU'] for r in map(json.loads, log) if 'mIoU' in r)
    text = words(html)
    assert text.startswith('Run <run> ')
    assert f'mIoU, last {miou:.4g} ' in text
    for title in (
        *('Segmentation, 5 classes', 'Label loss of each view', 'Co-training loss'),
        *('Agreement of views', 'Learning rate', 'IoU by class'),
    ):
        assert title in text
    assert re.search(r'seed 0 git [0-9a-f]{40}', text)
    # Nothing but itself: names of XML's namespaces are no addresses.
    html = re.sub(r'xmlns(:\w+)?="[^"]*"', '', html)
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert [s for s in sources if not s.startswith(('data:', '#'))] == []
    assert html.count('<script') == 1  # which sorts tables
    assert '@import' not in html


def test_several_runs(run: Path, tmp_path: Path) -> None:
    """Folders of the same name get a longer one."""
    other = tmp_path / 'b' / '<run>'
    shutil.copytree(run, other, ignore=shutil.ignore_patterns('*.pth'))
    log = next(other.glob('*/vis_data/config.py'))
    log.write_text(log.read_text().replace('lr=0.001', 'lr=0.5'))
    html = report(run, other, '--out', tmp_path / 'a.html')
    text = words(html)
    assert text.startswith('2 runs compared ')
    assert 'b/<run>' in text
    assert 'IoU by class In percent, as the last validation has logged it.' in text
    assert 'optim_wrapper.optimizer.lr 0.001 0.5' in text


def test_a_classifier(
    train: ModuleType, classification_config: Path, tmp_path: Path
) -> None:
    train.main([str(classification_config), '--work-dir', str(tmp_path / 'w')])
    text = words(report(tmp_path / 'w', '--out', tmp_path / 'a.html'))
    assert 'Classification, 2 classes' in text
    assert re.search(r'accuracy/top1, best \d+ best iteration \d', text)


def test_no_logs(tmp_path: Path, capsys: pytest.CaptureFixture, run: Path) -> None:
    said = refused(capsys, tmp_path / 'none')
    assert f'There is no work directory {tmp_path / "none"}. Check the path.' in said
    assert f'{tmp_path} has no config' in refused(capsys, tmp_path)
    (tmp_path / 'c.py').write_text((run / 'tiny.py').read_text())
    said = refused(capsys, tmp_path)
    assert f'{tmp_path} has no logs' in said
    assert 'give the work directory of a training' in said
