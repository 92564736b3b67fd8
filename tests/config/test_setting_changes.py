"""Settings of runs, flattened and compared."""

from pathlib import Path

from mmengine.config import Config

from mmcosub.config.loading import find_config
from mmcosub.config.setting_changes import (
    Change,
    against_base,
    compare,
    flat_settings,
)


def test_settings_that_a_run_goes_by() -> None:
    cfg = Config(
        dict(
            model=dict(type='A', sizes=(1, 2), heads=[dict(type='B', on=True), 'c']),
            scheme=dict(type='Cosub', _scope_='mmcosub'),
            crop_size=5,  # is read by nothing but the config itself
            work_dir='somewhere',
            train_dataloader=dict(batch_size=2, pin_memory=False),
            val_cfg=dict(),
        )
    )
    assert flat_settings(cfg) == {
        'model.type': "'A'",
        'model.sizes': '[1, 2]',
        'model.heads.0.type': "'B'",
        'model.heads.0.on': 'True',
        'model.heads.1': "'c'",
        'scheme.type': "'Cosub'",
        'train_dataloader.batch_size': '2',
        'val_cfg': '{}',
    }


def test_what_differs() -> None:
    configs = [dict(a='1', b='2'), dict(a='1', b='3', c='4'), dict(a='1', b='3')]
    assert compare(configs) == [
        Change('b', ('2', '3', '3')),
        Change('c', ('–', '4', '–')),
    ]


def test_against_the_bases(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text('model = dict(a=1, b=1, c=1)\n')
    file = tmp_path / 'own.py'
    file.write_text("_base_ = './base.py'\nmodel = dict(b=2)\n")
    run = flat_settings(Config(dict(model=dict(a=1, b=2, c=3, d=4))))
    assert against_base(run, file) == [
        Change('model.b', ('1', '2'), 'config'),
        Change('model.c', ('1', '3'), 'command line'),
        Change('model.d', ('–', '4'), 'command line'),
    ]


def test_a_file_without_bases_is_the_base(tmp_path: Path) -> None:
    file = tmp_path / 'own.py'
    file.write_text('model = dict(a=1)\n')
    run = flat_settings(Config(dict(model=dict(a=2))))
    assert against_base(run, file) == [Change('model.a', ('1', '2'), 'command line')]


def test_a_file_that_imports_its_classes(tmp_path: Path) -> None:
    """What MMEngine writes of it has their names, which are no changes."""
    file = tmp_path / 'own.py'
    file.write_text(
        'from mmseg.models.backbones import ResNetV1c\n'
        'model = dict(type=ResNetV1c, depths=[dict(norm=ResNetV1c)], depth=18)\n'
    )
    Config.fromfile(file).dump(tmp_path / 'dumped.py')
    run = Config.fromfile(tmp_path / 'dumped.py')
    assert against_base(flat_settings(run), file) == []
    run.model.depth = 50
    changes = against_base(flat_settings(run), file)
    assert changes == [Change('model.depth', ('18', '50'), 'command line')]


def test_a_file_of_another_format(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text('model = dict(a=1, b=True)\n')
    (tmp_path / 'own.json').write_text('{"_base_": "base.py", "model": {"a": 2}}')
    (tmp_path / 'own.yaml').write_text('_base_: [base.py]\nmodel: {a: 2}\n')
    run = flat_settings(Config(dict(model=dict(a=2, b=True))))
    for name in ('own.json', 'own.yaml'):
        changes = against_base(run, tmp_path / name)
        assert changes == [Change('model.a', ('1', '2'), 'config')]


def test_bases_inside_packages() -> None:
    name = 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'
    file = find_config(name)
    changes = against_base(flat_settings(Config.fromfile(file)), file)
    assert changes
    assert {change.source for change in changes} == {'config'}
