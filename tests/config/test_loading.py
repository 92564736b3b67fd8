"""Finding and loading configs."""

import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcosub.arguments import add_common_arguments
from mmcosub.config.loading import find_config, load_config


def load(*argv: str) -> Config:
    """Load as the tools do."""
    parser = ArgumentParser()
    parser.add_argument('config')
    parser.add_argument('--co-train')
    add_common_arguments(parser)
    return load_config(parser.parse_args(argv))


def test_config_inside_a_package() -> None:
    name = 'upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py'
    assert find_config(f'mmseg::{name}').is_file()
    assert find_config('mmcosub::_base_/schemes/cosub.py').is_file()


def test_unknown_package() -> None:
    with pytest.raises(ValueError, match='there is no package mmnothing'):
        find_config('mmnothing::a/b.py')


def test_names_of_stock_configs_are_looked_up_in_their_package(tmp_path: Path) -> None:
    """What mmengine marks as coming from us has names of mmseg all the same."""
    path = tmp_path / 'mixed.py'
    bases = [
        'mmseg::upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py',
        'mmcosub::_base_/schemes/cosub.py',
    ]
    path.write_text(f'_base_ = {bases}\n')
    marked = Config.fromfile(path).scheme
    assert marked['_scope_'] == 'mmcosub'
    cfg = load(str(path))
    assert '_scope_' not in cfg.scheme
    assert cfg.model['_scope_'] == 'mmseg'


def test_work_dir(config: Path, tmp_path: Path) -> None:
    assert load(str(config)).work_dir == str(tmp_path / 'w')
    assert load(str(config), '--work-dir', 'x').work_dir == 'x'
    config.write_text("model = dict(type='A')\n")
    assert load(str(config)).work_dir == str(Path('work_dirs', 'tiny'))


def test_options_come_after_the_scheme(config: Path) -> None:
    cfg = load(str(config), '--co-train', 'cosub', '--cfg-options', 'scheme.weight=0.1')
    assert cfg.scheme.weight == 0.1
    assert cfg.scheme.type == 'mmcosub.Cosub'


def test_loaders_without_workers(config: Path) -> None:
    options = ('persistent_workers=True', 'prefetch_factor=2', 'num_workers=0')
    said = [f'train_dataloader.{each}' for each in options]
    loader = load(str(config), '--cfg-options', *said).train_dataloader
    assert {'persistent_workers', 'prefetch_factor'}.isdisjoint(loader)


def test_imports_among_the_options(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'blocks_of_mine.py').write_text('')
    option = 'custom_imports.imports=blocks_of_mine'
    load(str(config), '--cfg-options', option)
    assert sys.modules.pop('blocks_of_mine')
    with pytest.raises(ImportError, match='nothing_of_mine'):
        load(str(config), '--cfg-options', 'custom_imports.imports=nothing_of_mine')


def test_a_scheme_is_turned_off_with_its_hook(config: Path) -> None:
    scheme = "scheme = dict(type='mmcosub.Cosub')"
    hooks = "[dict(type='mmcosub.CoTrainingLossHook', ramp=3), dict(type='EMAHook')]"
    text = config.read_text() + f'\n{scheme}\ncustom_hooks = {hooks}\n'
    config.write_text(text)
    assert len(load(str(config)).custom_hooks) == 2
    (hook,) = load(str(config), '--cfg-options', 'scheme=None').custom_hooks
    assert hook.type == 'EMAHook'


def test_no_model(tmp_path: Path) -> None:
    path = tmp_path / 'part.py'
    path.write_text('a = 1\n')
    with pytest.raises(ValueError, match='it has no `model=dict'):
        load(str(path))


def test_loader_defaults_of_mmpretrain(classification_config: Path) -> None:
    loader = load(str(classification_config)).train_dataloader
    assert loader.collate_fn == dict(type='default_collate')
    assert not loader.persistent_workers
    options = ['--cfg-options', 'train_dataloader.num_workers=2']
    loader = load(str(classification_config), *options).train_dataloader
    assert loader.persistent_workers
