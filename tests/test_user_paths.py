"""What the docs tell seven kinds of users to do, done, at tiny size.

Commands are those of the pages, one after another, in an empty folder. Only what makes
them long is made smaller, and what stands for the reader's own is put in.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from documented import ROOT, Command, blocks, lines, section

pytestmark = pytest.mark.slow

SCENES = 'configs/digit_scenes/swin-mini_upernet-cosub_1xb32-2k_digit-scenes-32x32.py'
SHORT = (
    ' train_dataloader.batch_size=2 param_scheduler.0.end=1 param_scheduler.1.begin=1'
    ' default_hooks.logger.interval=1 default_hooks.checkpoint.interval=2'
)


class Reader:
    """Someone who types what a page says.

    Args:
        folder (Path): Where. The scripts, configs and docs are there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ('tools', 'configs', 'docs'):
            (folder / name).symlink_to(ROOT / name)

    def types(self, text: str, changes: dict[str, str]) -> list[str]:
        """Type commands, some of their text changed; what each one says.

        Args:
            text (str): Markdown with the commands.
            changes (dict[str, str]): What is in the commands, by what takes its place.
                All of it must be there.
        """
        typed = [line for block in blocks(text, 'bash') for line in lines(block)]
        unused = [old for old in changes if not any(old in line for line in typed)]
        assert not unused, f'the page no longer says {unused}'
        said = []
        for line in typed:
            for old, new in changes.items():
                line = line.replace(old, new)
            said.append(self.runs(Command('', line)))
        return said

    def runs(self, command: Command) -> str:
        """Run a command, which must succeed; its output."""
        program, *rest = command.words
        rest = [path for word in rest for path in self.matches(word)]
        argv = dict(
            python=[sys.executable],
            mmcosub=[sys.executable, '-m', 'mmcosub'],
            bash=['bash'],
        )[program]
        paths = [str(self.folder), str(ROOT)]
        if command.text.startswith('PYTHONPATH='):
            paths.insert(0, command.text.split()[0].partition('=')[2])
        done = subprocess.run(
            [*argv, *rest],
            cwd=self.folder,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f'{command.text}\n{done.stdout}\n{done.stderr}'
        return done.stdout

    def matches(self, word: str) -> list[str]:
        """What a shell makes of a word: the paths that a pattern matches, or itself."""
        found = sorted(self.folder.glob(word)) if '*' in word else []
        return [str(path.relative_to(self.folder)) for path in found] or [word]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def logged(folder: Path) -> list[dict]:
    """What a run has logged."""
    (log,) = folder.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def page(name: str) -> str:
    return (ROOT / 'docs' / name).read_text()


def test_pretraining_and_evaluation(reader: Reader) -> None:
    """docs/quickstart.md, all of it."""
    said = reader.types(
        page('quickstart.md'),
        {
            '--train 1000 --val 100': '--train 12 --val 4',
            'train_cfg.max_iters=300 train_cfg.val_interval=100': (
                'train_cfg.max_iters=4 train_cfg.val_interval=2' + SHORT
            ),
            'iter_300': 'iter_4',
            '--copies 4': '--copies 1',
            'train_cfg.max_epochs=3': 'train_cfg.max_epochs=2',
            'epoch_3': 'epoch_2',
        },
    )
    work = reader.folder / 'work_dirs'
    assert 'agreement' in logged(work / 'scenes')[0]
    assert len(list((work / 'labels').glob('*.png'))) == 4
    assert len(list((work / 'pictures').rglob('*.png'))) == 4
    drawn = cv2.imread(str(work / 'prediction.png'))  # with a legend below
    assert drawn.shape[0] > 32
    assert 'Backbone from work_dirs/digits/epoch_2.pth' in said[-1]
    assert any('accuracy/top1' in line for line in logged(work / 'digits'))


def test_own_data(reader: Reader) -> None:
    """docs/own_data.md, by hand."""
    rng = np.random.default_rng(0)
    for name in ('one', 'two', 'three', 'four', 'five'):
        label = rng.integers(0, 3, (8, 8)).repeat(10, 0).repeat(10, 1)
        image = label[..., None] * 80 + rng.integers(0, 20, (80, 80, 3))
        for kind, array, end in (('images', image, 'jpg'), ('masks', label, 'png')):
            file = reader.folder / 'data' / 'mine' / kind / f'{name}.{end}'
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), array.astype(np.uint8))
    said = reader.types(
        page('own_data.md'),
        {
            '--model segformer-b0': '--model segformer-b0 --no-pretrained',
            '20000': '10',
        },
    )
    assert 'train: 4 samples, none is bad' in said[1]
    work = reader.folder / 'work_dirs'
    assert not any('agreement' in line for line in logged(work / 'plain'))
    assert any('agreement' in line for line in logged(work / 'cosub'))
    assert (work / 'plain' / 'report.html').is_file()
    assert (reader.folder / 'confusion_matrix.png').is_file()
    for kind in ('masks', 'overlays'):
        assert len(list((work / 'predictions' / kind).iterdir())) == 5
    assert 'Parity: 100.00%' in ''.join(said)
    assert (work / 'mine.onnx.md').is_file()
    (published,) = work.glob('mine-????????.pth')
    assert torch.load(published, weights_only=False)['meta']['dataset_meta']['classes']


@pytest.fixture
def scenes_made(reader: Reader) -> Reader:
    """A reader who has made digit scenes, and has a tiny config."""
    make = 'python tools/dataset_converters/digit_scenes.py --train 8 --val 4 --size 32'
    reader.runs(Command('', f'{make} --out data/digit_scenes'))
    (reader.folder / 'TINY.py').write_text(
        f"_base_ = ['{ROOT}/configs/digit_scenes/"
        "swin-mini_upernet_1xb32-2k_digit-scenes-32x32.py']\n"
        'train_dataloader = dict(batch_size=2)\n'
        'train_cfg = dict(max_iters=2, val_interval=2)\n'
        'param_scheduler = [dict(type="PolyLR", by_epoch=False)]\n'
        'default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))\n'
        'work_dir = "work_dirs/tiny"\n'
    )
    return reader


def test_foreign_checkpoint(scenes_made: Reader) -> None:
    """docs/carry_over.md: timm's weights in, and converted."""
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    weights = timm.create_model('vit_tiny_patch16_224').state_dict()
    torch.save(weights, scenes_made.folder / 'vit.pth')
    config = (scenes_made.folder / 'TINY.py').read_text()
    (scenes_made.folder / 'VIT.py').write_text(
        config
        + 'norm = dict(type="BN")\n'
        + 'model = dict(backbone=dict(_delete_=True,'
        "    type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=32,"
        "    patch_size=16, out_type='featmap',"
        '    drop_path_rate=0.1, out_indices=(2, 5, 8, 11)),'
        "  neck=dict(type='mmseg.MultiLevelNeck', in_channels=[192] * 4,"
        '    out_channels=192, scales=[4, 2, 1, 0.5]),'
        '  decode_head=dict(in_channels=[192] * 4),'
        '  auxiliary_head=dict(in_channels=192))\n'
    )
    text = section('docs/carry_over.md', '## Converting a file')
    scenes_made.types(text, {})
    converted = torch.load(scenes_made.folder / 'converted.pth', weights_only=False)
    assert 'backbone.cls_token' in converted['state_dict']
    for file in ('vit.pth', 'converted.pth'):
        command = f'python tools/train.py VIT.py --backbone {file} --co-train cosub'
        said = scenes_made.runs(Command('', command))
        assert f'Backbone from {file}' in said
        assert '150 of 150 weights' in said


def test_own_scheme(scenes_made: Reader) -> None:
    """docs/schemes.md: R-Drop."""
    text = section('docs/schemes.md', '## One of your own')
    scenes_made.types(
        text, {'CONFIG': 'TINY.py', '=docs/examples': f'={ROOT}/docs/examples'}
    )
    run = logged(scenes_made.folder / 'work_dirs' / 'tiny')
    assert run[0]['decode.loss_co_training'] > 0


def test_own_block(scenes_made: Reader) -> None:
    """docs/add_a_block.md: the block becomes known, so its submodels run fast."""
    text = page('add_a_block.md')
    block, known, check = blocks(text, 'python')[:3]
    body = block.replace('class Block(nn.Module):', '')
    (scenes_made.folder / 'mynet.py').write_text(NETWORK + body + REST)
    (scenes_made.folder / 'my_blocks.py').write_text(known)
    config = (scenes_made.folder / 'TINY.py').read_text()
    (scenes_made.folder / 'MINE.py').write_text(
        config
        + "custom_imports = dict(imports=['mynet', 'my_blocks'])\n"
        + "model = dict(backbone=dict(_delete_=True, type='MyNet'), neck=None,"
        "  decode_head=dict(_delete_=True, type='FCNHead', in_channels=16, channels=16,"
        '    in_index=0, num_classes=11), auxiliary_head=None)\n'
    )
    (said,) = scenes_made.types(
        text.split('# Adding an')[0], {'YOUR_CONFIG.py': 'MINE.py'}
    )
    assert 'Not all blocks' not in said
    run = logged(scenes_made.folder / 'work_dirs' / 'tiny')
    assert run[0]['branch_work'] < 1
    build = 'import my_blocks, mynet\nbackbone = mynet.MyNet()\n'
    (scenes_made.folder / 'check.py').write_text(build + check)
    said = scenes_made.runs(Command('', 'PYTHONPATH=. python check.py'))
    assert '6 branches compute' in said


NETWORK = """
import torch
from mmseg.registry import MODELS
from timm.layers import DropPath
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.attn, self.mlp = nn.Linear(16, 16), nn.Linear(16, 16)
        self.drop_path = DropPath(0.3)
"""
REST = """

@MODELS.register_module()
class MyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.Sequential(Block(), Block(), Block())

    def forward(self, x):
        x = self.stem(x)
        size = x.shape[2:]
        x = self.blocks(x.flatten(2).transpose(1, 2))
        return (x.transpose(1, 2).unflatten(2, size),)
"""


def test_python_api(scenes_made: Reader) -> None:
    """docs/python_api.md: its programs, one after another."""
    text = page('python_api.md')
    programs = blocks(text.split('## `mmseg::`')[0], 'python')
    whole = '\n'.join(programs)
    shorter = (
        "cfg.work_dir = 'work_dirs/api'",
        "cfg.work_dir = 'work_dirs/api'; cfg.train_dataloader.batch_size = 2; "
        'cfg.param_scheduler = []; cfg.default_hooks.checkpoint.interval = 2',
    )
    for old, new in (
        ('max_iters=300, val_interval=100', 'max_iters=2, val_interval=2'),
        shorter,
        ('iter_300', 'iter_2'),
    ):
        assert old in whole
        whole = whole.replace(old, new)
    (scenes_made.folder / 'program.py').write_text(whole)
    printed = scenes_made.runs(Command('', 'python program.py')).splitlines()
    said = [line for line in printed if not line.startswith('Loads checkpoint')]
    assert '(1, 32, 32)' in said[-3].replace('torch.Size([', '(').replace('])', ')')
    assert 'of the branches were computed' in said[-2]
    assert 'loss_co_training' in said[-1]
    stock = torch.load(scenes_made.folder / 'work_dirs' / 'stock.pth')['state_dict']
    trained = scenes_made.folder / 'work_dirs' / 'api' / 'iter_2.pth'
    assert set(stock) == set(torch.load(trained, weights_only=False)['state_dict'])


def test_mmseg_configs_outside_our_tools(reader: Reader) -> None:
    """The two ways round, without mmcosub."""
    text = section('docs/python_api.md', '## `mmseg::` in configs')
    name = 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'
    (way,) = [code for code in blocks(text, 'python') if 'MODULE2PACKAGE' in code]
    read = "from mmengine.config import Config\nassert Config.fromfile('a.py').model\n"
    (reader.folder / 'a.py').write_text(f"_base_ = ['mmseg::{name}']\n")
    (reader.folder / 'first.py').write_text(way + read)
    reader.runs(Command('', 'python first.py'))
    (folder,) = reader.types(text, {})
    (reader.folder / 'a.py').write_text(f"_base_ = ['{folder.split()[-1]}/{name}']\n")
    (reader.folder / 'second.py').write_text(read)
    reader.runs(Command('', 'python second.py'))
