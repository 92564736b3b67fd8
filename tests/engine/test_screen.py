"""Long lists are in the log file, and not on the screen."""

import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


@pytest.mark.parametrize('level', ['INFO', 'DEBUG'])
def test_settings_of_parameters(
    train: ModuleType,
    config: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    level: str,
) -> None:
    """Those that are logged, and those that MMSegmentation's constructor prints."""
    options = [
        'optim_wrapper.paramwise_cfg.norm_decay_mult=0.0',
        'optim_wrapper.optimizer.weight_decay=0.01',
        'train_cfg.max_iters=1',
        f'log_level={level}',
    ]
    train.main([str(config), '--cfg-options', *options])
    shown = capfd.readouterr().out
    (file,) = (tmp_path / 'w').glob('*/*.log')
    logged = file.read_text()
    line = 'paramwise_options -- backbone.norm0.weight:weight_decay=0.0'
    assert line in logged
    assert (line in shown) == (level == 'DEBUG')
    assert ('log_level=DEBUG shows such lines' in shown) == (level == 'INFO')
    assert 'Iter(train) [1/1]' in shown
    for line in ('System environment:', "type='EncoderDecoder'", 'after_run:'):
        assert line in logged
        assert (line in shown) == (level == 'DEBUG')
    assert f'Environment, config and hooks are in {file}' in shown


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from mmengine.logging import MMLogger

    from mmcosub.engine.screen import keep_lists_off, printed_to_log

    file = tmp_path / 'a.log'
    logger = MMLogger('quiet', logger_name='quiet', log_file=str(file))
    assert keep_lists_off(logger)
    with printed_to_log(logger):
        print('set param a as id 0')
        logger.warning('something is odd')
    logger.info('behind it')
    shown = capsys.readouterr()
    assert 'as id 0' not in shown.out + shown.err
    assert 'something is odd' in shown.out + shown.err
    assert 'behind it' in shown.out + shown.err
    assert 'set param a as id 0' in file.read_text()
    for handler in logger.handlers:
        handler.close()


@pytest.mark.parametrize('scheme', [None, 'cosub'])
def test_lines_of_training_are_short(
    train: ModuleType,
    config: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    scheme: str | None,
) -> None:
    """They say nothing twice, and scalars.json has everything."""
    argv = ['--co-train', scheme] if scheme else []
    train.main([str(config), *argv, '--cfg-options', 'train_cfg.max_iters=2'])
    (file,) = (tmp_path / 'w').glob('*/*.log')
    for text in (capfd.readouterr().out, file.read_text()):
        (line,) = [x for x in text.splitlines() if 'Iter(train) [2/2]' in x]
        assert len(line) < 160
        names = re.findall(r' (\w[\w.]*): ', line)
        shown = ['lr', 'eta', 'loss']
        if scheme:
            shown += ['label_views', 'agreement', 'time', 'co_training']
        else:
            shown += ['time', 'decode.loss_ce', 'decode.acc_seg']
        assert names == shown
    (scalars,) = file.parent.glob('vis_data/scalars.json')
    last = [json.loads(x) for x in scalars.read_text().splitlines() if '"lr"' in x][-1]
    assert {'data_time', 'decode.loss_ce', 'decode.acc_seg'} <= last.keys()
    if scheme:
        assert {'branch_work', 'label_view1', 'decode.loss_co_training'} <= last.keys()


ALWAYS = dict(lr=5.97e-5, time=0.412, data_time=0.01, loss=1.263)
VIEWS = dict(label_view0=0.714, label_view1=0.723, agreement=0.975, co_training=0.213)
UNLABELLED = dict(loss_unlabelled=0.123, unlabelled_confidence=0.5312)
MANY = {f'decode.d{i}.loss_{x}': 0.1 + i for i in range(9) for x in ('cls', 'mask')}


@pytest.mark.parametrize(
    ('values', 'left_out'),
    [
        (VIEWS, set()),
        (dict(**VIEWS, ramp=0.3, memory=12345), {'memory', 'ramp'}),
        (
            dict(**VIEWS, **UNLABELLED, unlabelled_used=0.3, grad_norm=1.234),
            {*('unlabelled_used', 'unlabelled_confidence', 'grad_norm')}
            | {'co_training', 'time'},
        ),
        (MANY, {*MANY} - {'decode.d0.loss_cls', 'decode.d0.loss_mask'}),
    ],
    ids=['cosub', 'memory', 'unlabelled', 'many terms'],
)
def test_lines_of_long_runs_are_short(values: dict, left_out: set[str]) -> None:
    """160,000 iterations and 23 hours: what says the least is left out."""
    from mmengine.logging import HistoryBuffer, MessageHub

    from mmcosub.engine.screen import ShortLines

    hub = MessageHub('long')
    hub.update_info('eta', 23 * 3600 + 300)
    hub.log_scalars.clear()
    for name, value in {**ALWAYS, **values}.items():
        hub.log_scalars[f'train/{name}'] = HistoryBuffer([value], [1])
    runner = SimpleNamespace(
        message_hub=hub, iter=99_949, max_iters=160_000, _train_loop=object()
    )
    processor = ShortLines(by_epoch=False)
    tag, line = processor.get_log_after_iter(runner, 99_949, 'train')  # type: ignore[arg-type]
    assert line.startswith('Iter(train) [ 99950/160000]  lr: 5.97e-05  eta: 23h 05m')
    assert len(f'12/31 23:59:59 {line}') < 160
    names = {*re.findall(r' (\w[\w.]*): ', line)}
    views = {name for name in values if name.startswith('label_view')}
    expected = {*ALWAYS, *values} - views - left_out - {'data_time'}
    assert names == expected | {'eta'} | ({'label_views'} if views else set())
    assert {*tag} >= {*ALWAYS, *values}


@pytest.mark.parametrize(
    ('seconds', 'said'),
    [(72, '1m 12s'), (3600, '1h 00m'), (86399, '23h 59m'), (129600, '1d 12h')],
)
def test_durations(seconds: int, said: str) -> None:
    from mmcosub.engine.screen import _duration

    assert _duration(seconds) == said


@pytest.mark.parametrize('processor', ['LogProcessor', 'mmengine.LogProcessor'])
def test_mmengines_lines(
    train: ModuleType, config: Path, tmp_path: Path, processor: str
) -> None:
    options = ['train_cfg.max_iters=1', f'log_processor.type={processor}']
    train.main([str(config), '--cfg-options', *options])
    (file,) = (tmp_path / 'w').glob('*/*.log')
    assert 'data_time: ' in file.read_text().partition('Iter(train)')[2]
