"""Bad inputs of all kinds, and whether a tool says in one line what is wrong."""

import os
import pickle
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from mmcosub.arguments import STATUS
from mmcosub.config.co_train import list_schemes

from .fault_settings import Setting, arguments
from .processes import finish, start

HANGS_AFTER = 300.0


@dataclass
class Case:
    """One bad input.

    Args:
        argv (list[str]): Arguments besides config and work directory; ``{root}`` stands
            for the folder of data and configs.
        spoil (Callable, optional): Damages the data; gets that folder.
        tool (str): The tool. Defaults to 'train.py'.
        classify (bool): Whether it is about a classifier. Defaults to False.
        config (bool): Whether the config is given. Defaults to True.
        work_dir (str): Work directory, in that folder. Defaults to 'w'.
    """

    argv: list[str] = field(default_factory=list)
    spoil: Callable[[Path], object] | None = None
    tool: str = 'train.py'
    classify: bool = False
    config: bool = True
    work_dir: str = 'w'


def try_case(case: Case, folder: Path) -> dict:
    """Give a bad input to its tool.

    Args:
        case (Case): The bad input.
        folder (Path): Where to make data and configs.

    Returns:
        dict: ``outcome``, 'one line' or what was otherwise; ``said``; ``seconds``.
    """
    root = folder / 'case'
    shutil.rmtree(root, ignore_errors=True)
    base = arguments(Setting(classify=case.classify), root, 4)
    if case.spoil:
        case.spoil(root)
    argv = base if case.config else []
    argv = argv + [text.replace('{root}', str(root)) for text in case.argv]
    argv += ['--work-dir', str(root / case.work_dir)]
    log = folder / 'log'
    log.unlink(missing_ok=True)
    began = time.monotonic()
    (status,) = finish(start(case.tool, argv, log), HANGS_AFTER)
    text = log.read_text() if log.is_file() else ''
    errors = re.findall(r'^.*\.py: error.*$', text, re.MULTILINE)
    if status is None:
        outcome = 'hangs'
    elif (root / 'it_ran').exists():
        outcome = 'ran foreign code'
    elif 'Traceback (most recent' in text:
        outcome = 'traceback'
    elif status == 0:
        outcome = 'taken'
    elif status == STATUS and len(errors) == 1:
        outcome = 'one line'
    else:
        outcome = f'status {status}, {len(errors)} lines'
    said = errors[0] if errors else ' '.join(text.split())[-300:]
    said = said.replace(str(root), '').partition('error: ')[2] or said
    return dict(
        outcome=outcome, said=said[:240], seconds=round(time.monotonic() - began, 1)
    )


# ---- what is wrong ---------------------------------------------------------------


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def _image(root: Path) -> Path:
    return root / 'scenes/images/training/3.jpg'


def _label(root: Path) -> Path:
    return root / 'scenes/annotations/training/3.png'


def _class_image(root: Path) -> Path:
    return root / 'classes/train/a/0.png'


def _checkpoint(content: object) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        path = root / 'bad.pth'
        if content == 'folder':
            path.mkdir()
        elif content == 'a link to itself':
            path.symlink_to(path)
        elif content == 'evil':
            weights = {'backbone.a.weight': torch.ones(2)}
            torch.save(dict(state_dict=weights, x=_Evil(root / 'it_ran')), path)
        elif content == 'evil config':
            text = f'import os\nos.mkdir({str(root / "it_ran")!r})'
            weights = {'backbone.a.weight': torch.ones(2)}
            torch.save(dict(state_dict=weights, meta=dict(config=text)), path)
        elif content == 'cut short':
            torch.save({'a.weight': torch.ones(1000)}, path)
            path.write_bytes(path.read_bytes()[:2000])
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)

    return make


CHECKPOINTS: dict[str, object] = {
    'empty': b'',
    'a web page': b'<html>404</html>',
    'a pickled list': pickle.dumps([1, 2], protocol=2),
    'cut short': 'cut short',
    'a folder': 'folder',
    'a link to itself': 'a link to itself',
    'objects that run code': 'evil',
    'a config that runs code': 'evil config',
    'a number': 3,
    'no weights': dict(epoch=3),
    'another model': {f'encoder.{i}.weight': torch.ones(2) for i in range(9)},
    'text for weights': dict(state_dict=dict(a='b')),
    'weights that are NaN': {'backbone.a.weight': torch.full((2,), float('nan'))},
}


def _write(path: Callable[[Path], Path], array: np.ndarray) -> Callable:
    return lambda root: cv2.imwrite(str(path(root)), array)


def _bytes(path: Callable[[Path], Path], content: bytes) -> Callable:
    return lambda root: path(root).write_bytes(content)


def _remove(name: str) -> Callable:
    def remove(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def _list(content: str) -> Callable:
    return lambda root: (root / 'scenes' / 'list.txt').write_text(content)


def _everywhere(value: int) -> Callable:
    def fill(root: Path) -> None:
        for path in _label(root).parent.iterdir():
            cv2.imwrite(str(path), np.full((40, 48), value, np.uint8))

    return fill


_ONES = np.ones((40, 48))
SCENES: dict[str, Callable] = {
    'label of another size': _write(_label, np.ones((20, 24), np.uint8)),
    'label turned by 90 degrees': _write(_label, np.ones((48, 40), np.uint8)),
    'label of 16 bits': _write(_label, (_ONES * 300).astype(np.uint16)),
    'label of floats': lambda root: Image.fromarray(
        (_ONES * 0.5).astype(np.float32), 'F'
    ).save(_label(root), 'TIFF'),
    'label value 99': _write(_label, (_ONES * 99).astype(np.uint8)),
    'label value 6': _write(_label, (_ONES * 6).astype(np.uint8)),
    'label in colours': _write(_label, np.full((40, 48, 3), 200, np.uint8)),
    'label is text': _bytes(_label, b'no picture'),
    'label is empty': _bytes(_label, b''),
    'label is missing': lambda root: _label(root).unlink(),
    'label is a folder': lambda root: (_label(root).unlink(), _label(root).mkdir()),
    'labels all ignored': _everywhere(0),
    'labels all of no class': _everywhere(77),
    'image is text': _bytes(_image, b'no picture'),
    'image is empty': _bytes(_image, b''),
    'no images': _remove('scenes/images/training'),
    'no labels': _remove('scenes/annotations/training'),
    'no validation images': _remove('scenes/images/validation'),
    'no validation labels': _remove('scenes/annotations/validation'),
    'no data': _remove('scenes'),
    'a link to a folder that it is in': lambda root: (
        root / 'scenes/images/training/again'
    ).symlink_to(root / 'scenes'),
    'a label that links to itself': lambda root: (
        _label(root).unlink(),
        _label(root).symlink_to(_label(root)),
    ),
}
LISTS = {
    'blank line': '0\n\n1\n',
    'blank at the end': '0\n1\n \n',
    'nothing': '',
    'missing image': '0\nlost\n',
    'path of another folder': '../lost/0\n',
}
CLASSES: dict[str, Callable] = {
    'image is text': _bytes(_class_image, b'no picture'),
    'image is empty': _bytes(_class_image, b''),
    'image cut short': lambda root: _class_image(root).write_bytes(
        _class_image(root).read_bytes()[:60]
    ),
    'no training data': _remove('classes/train'),
    'no validation data': _remove('classes/val'),
    'no class folder': lambda root: (
        shutil.rmtree(root / 'classes/train'),
        (root / 'classes/train').mkdir(),
    ),
    'a class less in training': _remove('classes/train/b'),
    'a class less in validation': _remove('classes/val/b'),
    'a class more': lambda root: (root / 'classes/train/c').mkdir(),
    'another class in validation': lambda root: (root / 'classes/val/a').rename(
        root / 'classes/val/x'
    ),
    'a link to a folder that it is in': lambda root: (
        root / 'classes/train/a/again'
    ).symlink_to(root / 'classes'),
}

MALFORMED = (
    'lr', '=3', 'a..b=1', '.a=1', 'a.=1', 'model.type =A', 'a=[1,2', 'a=(1,2',
    'a=[1,(2]', 'model', 'train_cfg.max_iters',
)  # fmt: skip
SETTINGS_WRONG = (
    'modle.backbone.type=A', 'optim_wraper.type=A', 'train_dataloadr.batch_size=2',
    'randomnes.seed=1', 'sheme.weight=1', 'train_cgf.max_iters=3', 'wrok_dir=a',
    'default_hook.checkpoint.interval=1', 'param_schedular=None', 'val_evaluater=None',
    'model.type=Nothing', 'model.backbone.type=Nothing', 'model.decode_head.type=No',
    'model.backbone.drop_path_rate=high', 'model.backbone.drop_path_rate=2',
    'model.backbone.nothing=1', 'model.backbone.arch=huge', 'model.backbone.img_size=a',
    'model.backbone.out_indices=(0,9)', 'model.decode_head.in_channels=[8]',
    'model.decode_head.in_channels=8', 'model.decode_head.channels=0',
    'model.decode_head.num_classes=7', 'model.decode_head.num_classes=0',
    'model.decode_head.num_classes=five', 'model.auxiliary_head.num_classes=9',
    'model.auxiliary_head.in_index=7', 'model.decode_head.nothing=1',
    'model.decode_head.loss_decode.type=Nothing',
    'model.decode_head.loss_decode.class_weight=[1.0,2.0]',
    'model.auxiliary_head.loss_decode.class_weight=[1.0]',
    'model.decode_head.loss_decode.nothing=1', 'model.decode_head.norm_cfg.type=No',
    'model.data_preprocessor.size=big', 'model.data_preprocessor.type=No',
    'model.test_cfg.mode=nothing', 'train_dataloader.batch_size=0',
    'train_dataloader.batch_size=-1', 'train_dataloader.batch_size=two',
    'train_dataloader.batchsize=2', 'train_dataloader.num_workers=-1',
    'train_dataloader.num_workers=many', 'train_dataloader.sampler.type=No',
    'train_dataloader.sampler.nothing=1', 'train_dataloader.dataset.type=No',
    'train_dataloader.dataset.nothing=1', 'train_dataloader.dataset.img_suffix=.bmp',
    'train_dataloader.dataset.seg_map_suffix=.bmp',
    'train_dataloader.dataset.data_root=/nowhere',
    'train_dataloader.dataset.reduce_zero_label=False',
    'train_dataloader.dataset.ann_file=nowhere.txt',
    'train_dataloader.dataset.indices=0',
    'optim_wrapper.type=No',
    'optim_wrapper.optimizer.type=No', 'optim_wrapper.optimizer.lr=fast',
    'optim_wrapper.optimizer.lr=-1', 'optim_wrapper.optimizer.lrr=1',
    'optim_wrapper.optimizer.lr=1e30', 'optim_wrapper.accumulative_counts=0',
    'optim_wrapper.accumulative_counts=two', 'optim_wrapper.clip_grad=1',
    'train_cfg.type=No', 'train_cfg.max_iters=many', 'train_cfg.max_iter=4',
    'train_cfg.max_iters=1.5', 'train_cfg.val_interval=0', 'val_cfg.type=No',
    'val_evaluator.type=No', 'val_evaluator.iou_metrics=[nothing]',
    'default_hooks.logger.type=No', 'default_hooks.checkpoint.interval=often',
    'default_hooks.checkpoint.save_best=nothing',
    'default_hooks.checkpoint.nothing.more=1', 'runner_type=No', 'launcher.a=1',
    'randomness.seed=soon', 'randomness.seed=-5', 'randomness.nothing=1',
    'default_scope=nothing', 'bad_data=maybe', 'log_level=LOUD',
    'load_from=/nowhere/a.pth', 'model.backbone=None', 'model.decode_head=None',
    'train_dataloader=None', 'optim_wrapper=None', 'train_cfg=None', 'model=None',
    'carry_over.min_match=2', 'carry_over.nothing=1', 'visualizer.type=No',
)  # fmt: skip
SCHEME_WRONG = (
    'scheme.weight=heavy', 'scheme.weight=nan', 'scheme.weigth=0.5',
    'scheme.temperature=0', 'scheme.temperature=inf', 'scheme.temperature=hot',
    'scheme.loss=nothing', 'scheme.drop_path_rate=1.5', 'scheme.drop_path_rate=-0.1',
    'scheme.drop_path_rate=often', 'scheme.drop_path_decay=steep',
    'scheme.execution=fast', 'scheme.sampler.type=No', 'scheme.sampler=no',
    'scheme.seed=soon', 'scheme.seed=1.5', 'scheme.auxiliary=maybe', 'scheme.lean=1',
    'scheme.type=Nothing', 'scheme.nothing=1',
)  # fmt: skip


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}

    def add(name: str, *argv: str, **more: object) -> None:
        assert name not in cases, name
        cases[name] = Case([*argv], **more)  # type: ignore[arg-type]

    for name, argv in {
        'no such config': ['nowhere.py'],
        'a folder for a config': ['{root}'],
        'no such package': ['mmnothing::a.py'],
        'no such config in a package': ['mmseg::nothing/a.py'],
        'no config': [],
        'a data file for a config': ['{root}/scenes/images/training/3.jpg'],
    }.items():
        add(f'train: {name}', *argv, config=False)
        more = [*argv, 'a.pth'] if argv else []
        add(f'test: {name}', *more, config=False, tool='test.py')
    for name, text in {
        'syntax error': 'model = dict(\n',
        'an import that fails': 'import nothing\n',
        'an error in it': 'a = 1 / 0\n',
        'no model': 'a = 1\n',
        'a base that is missing': "_base_ = ['nowhere.py']\n",
        'a base of a missing package': "_base_ = ['mmnothing::a.py']\n",
        'a circle of bases': "_base_ = ['bad.py']\n",
        'a model that is no dict': 'model = 3\n',
        'a model without type': 'model = dict(a=1)\n',
    }.items():
        add(
            f'config: {name}', '{root}/bad.py', config=False,
            spoil=lambda root, text=text: (root / 'bad.py').write_text(text),
        )  # fmt: skip
    for text in MALFORMED:
        add(f'--cfg-options {text}', '--cfg-options', text)
    for text in SETTINGS_WRONG:
        add(f'setting {text}', '--cfg-options', text)
    for text in SCHEME_WRONG:
        add(f'cosub, {text}', '--co-train', 'cosub', '--cfg-options', text)
    for scheme in list_schemes():
        if scheme != 'cosub':
            for text in ('scheme.temperature=inf', 'scheme.nothing=1'):
                add(f'{scheme}, {text}', '--co-train', scheme, '--cfg-options', text)
    for name, argv in {
        'unknown flag': ['--nothing'],
        'two configs': ['b.py'],
        'unknown launcher': ['--launcher', 'nothing'],
        'unknown scheme': ['--co-train', 'cosubb'],
        'scheme of a missing file': ['--co-train', 'mine.py'],
        'scheme without a scheme': ['--co-train', '{root}/configs/segmentor.py'],
        'scheme settings without a scheme': ['--cfg-options', 'scheme.weight=1'],
        'every rate 0': [
            *('--co-train', 'cosub', '--cfg-options'),
            'scheme.drop_path_rate=0',
        ],
        'AMP with another wrapper': [
            '--amp', '--cfg-options', 'optim_wrapper.type=ApexOptimWrapper',
        ],
        'scheme with another runner': [
            *('--co-train', 'cosub', '--cfg-options', 'runner_type=Nothing'),
        ],
    }.items():  # fmt: skip
        add(name, *argv)
    for launcher in ('pytorch', 'slurm', 'mpi'):
        add(f'--launcher {launcher} without it', '--launcher', launcher)
        add(
            f'test: --launcher {launcher} without it', 'a.pth', '--launcher', launcher,
            tool='test.py',
        )  # fmt: skip
    for name, content in CHECKPOINTS.items():
        for way, argv in {
            'resume': ['--resume', '{root}/bad.pth'],
            'backbone': ['--backbone', '{root}/bad.pth'],
            'load_from': ['--cfg-options', 'load_from={root}/bad.pth'],
        }.items():
            if (way, name) != ('load_from', 'a config that runs code'):
                add(f'{way}: {name}', *argv, spoil=_checkpoint(content))
        add(
            f'test: {name}', '{root}/bad.pth', tool='test.py',
            spoil=_checkpoint(content),
        )  # fmt: skip
    for way in ('--resume', '--backbone'):
        add(f'{way}: no such file', way, 'nowhere.pth')
    add('test: no such file', 'nowhere.pth', tool='test.py')
    for name, spoil in SCENES.items():
        add(f'scenes: {name}', spoil=spoil)
    for name, text in LISTS.items():
        options = ['train_dataloader.dataset.ann_file=list.txt']
        add(f'list: {name}', '--cfg-options', *options, spoil=_list(text))
    for name, spoil in CLASSES.items():
        add(f'class folders: {name}', spoil=spoil, classify=True)
    for name in ('configs/segmentor.py', 'configs/segmentor.py/w', '/proc/w'):
        add(f'work directory {name}', work_dir=name)
    return cases


CASES = _cases()
"""Every bad input, by name."""
