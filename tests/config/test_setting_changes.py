"""Settings of runs, flattened and compared."""

from mmengine.config import Config

from mmcosub.config.setting_changes import compare, flat_settings


def test_settings_that_a_run_goes_by() -> None:
    cfg = Config(
        dict(
            model=dict(type='A', sizes=(1, 2), heads=[dict(type='B', on=True), 'c']),
            scheme=dict(type='Cosub', _scope_='mmcosub'),
            unlabelled=dict(weight=2.0),
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
        'unlabelled.weight': '2.0',
        'train_dataloader.batch_size': '2',
        'val_cfg': '{}',
    }


def test_what_differs() -> None:
    configs = [dict(a='1', b='2'), dict(a='1', b='3', c='4'), dict(a='1', b='3')]
    assert compare(configs) == {'b': ('2', '3', '3'), 'c': ('–', '4', '–')}
