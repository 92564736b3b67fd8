"""Settings that nothing reads, and what is named instead."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcosub.config.unread import check_file, check_options, drop_overridden

BASE = """
crop_size = (32, 32)
norm_cfg = dict(type='BN', eps=1e-3)
data_root = 'data/base'
train_pipeline = [dict(type='RandomCrop', crop_size=crop_size)]
test_pipeline = [dict(type='Resize', scale=(64, 32))]
optimizer = dict(type='AdamW', lr=1e-3)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
data_preprocessor = dict(size=crop_size)
model = dict(data_preprocessor=data_preprocessor, backbone=dict(norm_cfg=norm_cfg))
train_dataloader = dict(batch_size=2,
    dataset=dict(type='Data', data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(batch_size=1,
    dataset=dict(type='Data', data_root=data_root, pipeline=test_pipeline))
"""
CROP = ('train_dataloader.dataset.pipeline.0.crop_size', 'model.data_preprocessor.size')
ROOTS = [f'{split}_dataloader.dataset.data_root' for split in ('train', 'val')]
SIZES = [f'{split}_dataloader.batch_size' for split in ('train', 'val')]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """File of a config with variables."""
    path = tmp_path / 'base.py'
    path.write_text(BASE)
    return path


@pytest.mark.parametrize(
    ('key', 'named'),
    [
        ('crop_size', CROP),
        ('norm_cfg.type', ['model.backbone.norm_cfg.type']),
        ('data_root', ROOTS),
        ('batch_size', SIZES),
        ('optimizer.lr', ['optim_wrapper.optimizer.lr']),
        ('lr', ['optim_wrapper.optimizer.lr']),
        ('train_pipeline.0.crop_size', CROP[:1]),
        ('data_preprocessor.size', CROP[1:]),
        ('seed', ['randomness.seed']),
        ('deterministic', ['randomness.deterministic']),
        ('resume_from', ['--resume']),
        ('samples_per_gpu', SIZES[:1]),
        ('max_iters', ['train_cfg.max_iters']),
        ('modle.type', ["Did you mean 'model'"]),
        ('my_own', ['Nothing reads it']),
        ('scheme.weight', ['add --co-train']),
        ('launcher', ['--launcher']),
    ],
)
def test_options(base: Path, key: str, named: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(key)) as error:
        check_options(Config.fromfile(base), {key: 1})
    assert all(each in str(error.value) for each in named), error.value


@pytest.mark.parametrize(
    'key',
    [
        'tta_model.type',
        'tta_pipeline',
        'fast',
        'model.backbone.norm_cfg.eps',
        'randomness.seed',
        'sync_bn',
        'strategy.type',
    ],
)
def test_options_that_are_read(base: Path, key: str) -> None:
    check_options(Config.fromfile(base), {key: 1})


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        ('model.test_cfg.modes', 'mode'),
        ('env_cfg.cudnn_benchmrk', 'cudnn_benchmark'),
        ('model.test_cfg.stride', None),
        ('optim_wrapper.paramwise_cfg.custom_keys.norm2', None),
        ('model.decode_head.out_channels', None),
    ],
)
def test_misspelt_options_of_dicts_without_a_class(
    base: Path, key: str, meant: str | None
) -> None:
    """A class refuses them itself; nothing reads such a dict as a whole."""
    cfg = Config.fromfile(base)
    cfg.merge_from_dict({
        'model.test_cfg': dict(mode='whole', crop_size=(8, 8)),
        'model.decode_head': dict(type='Head', in_channels=8),
        'env_cfg': dict(cudnn_benchmark=True),
        'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(norm1=dict(lr_mult=1))),
    })  # fmt: skip
    if meant is None:
        check_options(cfg, {key: 1})
        return
    said = re.escape(f'{key} is not read. Did you mean {meant!r}?')
    with pytest.raises(ValueError, match=said):
        check_options(cfg, {key: 1})


def test_options_that_code_of_the_user_may_read(base: Path) -> None:
    cfg = Config.fromfile(base)
    cfg.custom_imports = dict(imports=['theirs'])
    check_options(cfg, {'crop_size': 1})


@pytest.mark.parametrize(
    ('line', 'named'),
    [
        ('crop_size = (16, 16)', CROP),
        ("data_root = 'data/mine'", ROOTS),
        ("train_pipeline = [dict(type='Own')]", ['train_dataloader.dataset.pipeline']),
        ('batch_size = 8', SIZES),
        ("optimizer = dict(type='SGD')", ['optim_wrapper.optimizer']),
        ('data = dict(samples_per_gpu=4)', ['train_dataloader']),
        ('optim_wraper = dict(type="A")', ["Did you mean 'optim_wrapper'"]),
        ('crop_size = (16, 16)\nmodel = dict(a=crop_size)', ()),
        ("crop_size = (16, 16)\nmodel = dict(a='{{_base_.crop_size}}')", CROP),
        ('crop_size = (32, 32)', ()),
        ('mine = 3', ()),
    ],
)
def test_variables_of_a_child(base: Path, line: str, named: list[str]) -> None:
    child = base.with_name('child.py')
    child.write_text(f"_base_ = ['base.py']\n{line}\n")
    if not named:
        check_file(child, Config.fromfile(child))
        return
    with pytest.raises(ValueError, match='is not read') as error:
        check_file(child, Config.fromfile(child))
    assert all(each in str(error.value) for each in named), error.value


def test_variables_of_a_pure_python_child(base: Path) -> None:
    child = base.with_name('child.py')
    child.write_text(
        'from mmengine.config import read_base\n\n'
        'with read_base():\n    from .base import *\n\n'
        "crop_size = (16, 16)\ntrain_pipeline = ['a']\n"
    )
    with pytest.raises(ValueError, match='is not read'):
        check_file(child, Config.fromfile(child))


def test_a_dumped_config_is_taken(base: Path) -> None:
    dumped = base.with_name('dumped.py')
    Config.fromfile(base).dump(dumped)
    check_file(dumped, Config.fromfile(dumped))


def test_a_dumped_config_is_taken_after_its_length_was_changed(tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text('epochs = 10\ntrain_cfg = dict(max_epochs=10)')
    cfg = Config.fromfile(path)
    drop_overridden(cfg)
    assert cfg.epochs == 10
    cfg.train_cfg.max_epochs = 2
    drop_overridden(cfg)
    assert 'epochs' not in cfg
    cfg.dump(path)
    check_file(path, Config.fromfile(path))


@pytest.mark.parametrize('name', ['swin/swin-tiny', 'segnext/segnext', 'unet/unet'])
def test_upstream_configs_are_taken(name: str) -> None:
    import mmseg

    folder = Path(mmseg.__file__).parent / '.mim' / 'configs'
    for path in sorted(folder.glob(f'{name}*.py'))[:3]:
        check_file(path, Config.fromfile(path))


def test_a_config_of_mmseg_0(tmp_path: Path) -> None:
    path = tmp_path / 'old.py'
    path.write_text(
        "model = dict(type='EncoderDecoder')\n"
        "data = dict(samples_per_gpu=2, train=dict(type='A'))\n"
        "lr_config = dict(policy='poly')\n"
        "runner = dict(type='IterBasedRunner', max_iters=4)\n"
    )
    with pytest.raises(ValueError, match=r'data is not read. It is now train_dataload'):
        check_file(path, Config.fromfile(path))


@pytest.mark.parametrize(
    ('key', 'value', 'refused'),
    [
        ('train_dataloader.sampler.shuffle', 'maybe', True),
        ('train_dataloader.sampler.shuffle', False, False),
        ('train_dataloader.dataset.type', 'maybe', False),
        ('model.backbone.pretrained', 'a.pth', False),
        ('sync_bn', 'torch', False),
    ],
)
def test_text_for_true_or_false(base: Path, key: str, value: object, refused: bool):
    cfg = Config.fromfile(base)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.model.backbone.pretrained = True
    cfg.sync_bn = False
    if not refused:
        check_options(cfg, {key: value})
        return
    with pytest.raises(ValueError, match=f"{key} must be True or False, .* 'maybe'"):
        check_options(cfg, {key: value})
