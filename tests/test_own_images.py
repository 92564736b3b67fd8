"""From twelve images of one's own to a trained, evaluated and exported model.

Six commands, and a seventh that trains the baseline for the report.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

COLOURS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 255]], dtype=np.uint8)


def make_images(root: Path) -> None:
    """Twelve images that are red, green or blue by class, and colour masks."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder).mkdir()
    for i in range(12):
        mask = rng.integers(0, 3, (4, 5)).repeat(16, 0).repeat(16, 1)
        image = 200 * np.eye(3)[mask] + rng.integers(0, 50, (*mask.shape, 3))
        Image.fromarray(image.astype(np.uint8)).save(root / 'images' / f'{i}.jpg')
        Image.fromarray(COLOURS[mask]).save(root / 'masks' / f'{i}.png')


class Terminal:
    """Someone who types commands in a folder.

    Args:
        folder (Path): The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def types(self, command: str) -> str:
        """Run a command, which must succeed; its output."""
        program, *words = shlex.split(command)
        assert program == 'mmcosub'
        argv = []
        for word in words:  # as a shell does
            found = sorted(self.folder.glob(word)) if '*' in word else []
            argv += [str(path.relative_to(self.folder)) for path in found] or [word]
        done = subprocess.run(
            [sys.executable, '-m', 'mmcosub', *argv],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
        return done.stdout


def test_commands_that_init_prints(tmp_path: Path) -> None:
    make_images(tmp_path)
    terminal = Terminal(tmp_path)
    said = terminal.types(
        'mmcosub init images masks --out mine --model segformer-b0 --no-pretrained '
        '--classes ground=#000000,road=#804080,water=#0000ff'
    )
    assert said.startswith('12 images')
    check, plain, cosub, report, test, export = re.findall(
        r'^  (mmcosub .*)', said, re.M
    )
    assert '12 samples' not in terminal.types(check)
    short = ' --max-iters 4'
    terminal.types(plain + short)
    last = terminal.types(cosub + short).splitlines()[-2:]
    assert last[0].startswith('Trained for 4 iterations; best mIoU ')
    terminal.types(report)
    tested = terminal.types(test)
    assert 'Parity: 100.00%' in terminal.types(export)
    # The closing line names the same checkpoint that the glob of init finds.
    assert last[1] == 'Next: ' + shlex.join(
        ['mmcosub', 'test', 'mine/segformer-b0.py', str(best(tmp_path))]
    )
    found = {name: float(re.search(rf'{name}: ([\d.]+)', tested)[1])
             for name in ('mIoU', 'NLL', 'ECE', 'Brier')}  # fmt: skip
    measured = re.search(r'best mIoU ([\d.]+)', last[0])
    assert measured
    assert found['mIoU'] == float(measured[1])
    work = tmp_path / 'work_dirs'
    page = (work / 'segformer-b0-plain' / 'report.html').read_text()
    assert all(name in page for name in found)
    (log,) = (work / 'segformer-b0-cosub').glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum('NLL' in record for record in records) == 4
    assert any('agreement' in record for record in records)


def best(folder: Path) -> Path:
    """The best checkpoint of the co-trained run, relative to a folder."""
    (file,) = folder.glob('work_dirs/segformer-b0-cosub/best_mIoU_*.pth')
    return file.relative_to(folder)
