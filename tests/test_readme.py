"""The README: short, its program runs, its picture is the script's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from documented import ROOT, blocks

from docs import method_picture

TEXT = (ROOT / 'README.md').read_text()
LOADER = (
    'import torch\nloader = [(torch.randn(2, 3, 224, 224), torch.randint(100, (2,)))]\n'
)


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150
    before = TEXT[: TEXT.index('<picture>')]
    assert 'make demo' in before  # on the first screen
    assert 'make test' in before


def test_training_loop(tmp_path: Path) -> None:
    """It needs nothing but a loader, and no package of OpenMMLab."""
    timm = pytest.importorskip('timm')
    (code,) = blocks(TEXT, 'python')
    hidden = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain')
    before = f'import sys\nsys.modules.update(dict.fromkeys({hidden}))\n'
    program = before + LOADER + code
    subprocess.run([sys.executable, '-c', program], cwd=tmp_path, check=True)
    model = timm.create_model('vit_small_patch16_224', num_classes=100)
    model.load_state_dict(torch.load(tmp_path / 'model.pth'), strict=True)


def test_files_that_it_links_to_are_there() -> None:
    links = re.findall(r'\]\(((?!http)[^)#]+)[^)]*\)', TEXT)
    sources = re.findall(r'(?:src|srcset)="([^"]+)"', TEXT)
    assert len(sources) == 2
    assert [name for name in links + sources if not (ROOT / name).exists()] == []


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_picture_is_that_of_the_script(theme: str, tmp_path: Path) -> None:
    method_picture.draw(theme, tmp_path / 'method.svg')
    drawn = (tmp_path / 'method.svg').read_text()
    committed = (ROOT / 'docs' / f'method-{theme}.svg').read_text()
    # Releases of Matplotlib place letters a little differently.
    assert committed.count('<path') == drawn.count('<path')
