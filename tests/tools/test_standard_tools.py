"""The tools that people of MMSegmentation and MMPretrain look for."""

import json
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from conftest import load_tool
from matplotlib import pyplot
from mmengine.config import Config
from stock import segmentation_config, write_config


def tool(name: str) -> ModuleType:
    """A script of tools/."""
    return load_tool(name)


@pytest.fixture(scope='module')
def run(
    tmp_path_factory: pytest.TempPathFactory, scenes: Path, train: ModuleType
) -> dict[str, Path]:
    """Config, checkpoint and work directory of a tiny co-trained segmentor."""
    folder = tmp_path_factory.mktemp('run')
    cfg = {**segmentation_config(scenes), 'work_dir': str(folder / 'w')}
    config = write_config(folder / 'tiny.py', cfg)
    train.main([str(config), '--co-train', 'cosub'])
    image = scenes / 'images' / 'validation' / '0.jpg'
    checkpoint = folder / 'w' / 'iter_4.pth'
    work_dir = folder / 'w'
    return dict(config=config, checkpoint=checkpoint, work_dir=work_dir, image=image)


@pytest.fixture
def classifier(classification_config: Path, train: ModuleType) -> dict[str, Path]:
    """Config and checkpoint of a tiny classifier, and an image."""
    train.main([str(classification_config)])
    folder = classification_config.parent
    image = next((folder / 'classes' / 'a').glob('*.jpg'))
    return dict(
        config=classification_config,
        checkpoint=folder / 'w' / 'epoch_1.pth',
        image=image,
    )


def refusal(name: str, capsys: pytest.CaptureFixture, *argv: object) -> str:
    """What a tool says of arguments that it refuses, in one line."""
    with pytest.raises(SystemExit) as exit_:
        tool(name).main([str(a) for a in argv])
    assert exit_.value.code == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


# ---- image demo ------------------------------------------------------------------


def test_demo_of_a_segmentor(run, tmp_path, capsys):
    out = tmp_path / 'out' / 'picture.png'
    argv = [run['image'], run['config'], run['checkpoint'], '--out-file', out]
    tool('image_demo').main([*map(str, argv), '--device', 'cpu'])
    picture, image = cv2.imread(str(out)), cv2.imread(str(run['image']))
    height, width = image.shape[:2]
    assert picture.shape[1] > width  # with the legend
    assert (picture[:height, :width] != image).any()
    shares = capsys.readouterr().out.splitlines()[-2]
    assert sum(float(s.split()[-1][:-1]) for s in shares.split(', ')) == pytest.approx(
        100, abs=0.5
    )


def test_demo_of_a_classifier(classifier, tmp_path, capsys):
    out = tmp_path / 'picture.png'
    argv = [classifier['image'], classifier['config'], classifier['checkpoint']]
    tool('image_demo').main([*map(str, argv), '--out-file', str(out)])
    assert cv2.imread(str(out)) is not None
    assert capsys.readouterr().out.splitlines()[-2][:3] in ('a: ', 'b: ')


def test_demo_refuses(run, tmp_path, capsys):
    name, rest = 'image_demo', (run['config'], run['checkpoint'])
    assert 'no image nowhere.jpg' in refusal(name, capsys, 'nowhere.jpg', *rest)
    assert 'failed to load image' in refusal(name, capsys, run['config'], *rest)
    assert '--opacity 2' in refusal(name, capsys, run['image'], *rest, '--opacity', '2')
    said = refusal(name, capsys, run['image'], *rest, '--out-file', 'prediction')
    assert 'prediction does not end like an image' in said
    said = refusal(name, capsys, run['image'], *rest, '--device', 'tpu9')
    assert "no device 'tpu9'" in said


# ---- confusion matrix ------------------------------------------------------------


def test_confusion_matrix_of_a_segmentor(run, tmp_path, test_tool):
    out, picture = tmp_path / 'matrix.json', tmp_path / 'matrix.png'
    argv = [run['config'], run['checkpoint'], '--out', out, '--show-path', picture]
    argv += ['--work-dir', tmp_path / 't']
    tool('analysis_tools/confusion_matrix').main([*map(str, argv)])
    matrix = np.array(json.loads(out.read_text())['matrix'])
    hits = np.diag(matrix)
    iou = hits / (matrix.sum(0) + matrix.sum(1) - hits)
    argv = [run['config'], run['checkpoint'], '--work-dir', tmp_path / 't']
    metrics = test_tool.main([*map(str, argv)])
    assert metrics['mIoU'] == pytest.approx(100 * np.nanmean(iou), abs=0.01)
    assert cv2.imread(str(picture)).std() > 10


def test_confusion_matrix_of_a_classifier(classifier, tmp_path):
    out = tmp_path / 'matrix.json'
    argv = [classifier['config'], classifier['checkpoint'], '--out', out]
    argv += ['--show-path', tmp_path / 'm.png', '--include-values']
    tool('analysis_tools/confusion_matrix').main([*map(str, argv)])
    found = json.loads(out.read_text())
    assert found['classes'] == ['a', 'b']
    assert np.sum(found['matrix'], axis=1).tolist() == [2, 2]


# ---- cost ------------------------------------------------------------------------


def test_flops(run, capsys):
    argv = [str(run['config']), '--shape', '32', '--co-train', 'cosub', '--draws', '3']
    tool('analysis_tools/get_flops').main(argv)
    lines = capsys.readouterr().out.splitlines()
    numbers = [float(line.split('GFLOPs')[0].split()[-1]) for line in lines[1:]]
    assert numbers[0] < numbers[1] < numbers[2] < 2.01 * numbers[1]
    assert 'mean of 3 draws' in lines[3]
    said = refusal('analysis_tools/get_flops', capsys, *argv[:3], '--draws', '0')
    assert '--draws must be 1 or more' in said


def test_flops_of_a_classifier(classification_config, capsys):
    argv = [str(classification_config), '--shape', '32', '--co-train', 'augpath']
    tool('analysis_tools/get_flops').main([*argv, '--draws', '2'])
    assert 'AugPath step' in capsys.readouterr().out


@pytest.mark.filterwarnings('ignore:``build_pixel_sampler``:UserWarning')
def test_flops_where_a_loss_looks_at_values(run):
    """It cannot be counted without memory, and comes to the same."""
    from mmcosub.analysis.costs import count_work

    cfg = Config.fromfile(run['config'])
    plain = count_work(cfg, (32, 32))
    cfg.model.decode_head.sampler = dict(
        type='OHEMPixelSampler', thresh=0.7, min_kept=100
    )
    assert count_work(cfg, (32, 32)) == plain


def test_work_is_what_runs(run):
    """Without memory as with it, and by hand: views that never share are two passes."""
    from mmcosub.analysis.costs import _count_work, count_work, nullcontext

    cfg = Config.fromfile(run['config'])
    cfg.scheme = dict(type='mmcosub.Cosub', execution='plain', drop_path_rate=0.5)
    counted = count_work(cfg, (32, 32), draws=1)
    assert counted == _count_work(cfg, (32, 32), 2, 1, nullcontext)
    # The patch embedding, which has no branch, runs for both views, too.
    assert counted.ratio == pytest.approx(2, abs=0.01)
    # Backward is twice forward, but for the image, which has no gradient, and the
    # auxiliary head, which does not predict.
    assert 2.5 < counted.plain / counted.prediction < 4


@pytest.mark.parametrize(
    'options', [[], ['--train'], ['--train', '--co-train', 'cosub']]
)
def test_benchmark(run, capsys, options):
    argv = [str(run['config']), '--shape', '32', '--repeat-times', '2', *options]
    tool('analysis_tools/benchmark').main([*argv, '--device', 'cpu'])
    said = capsys.readouterr().out.splitlines()[-1]
    low, high = said.partition('(')[2].partition(')')[0].split(' to ')
    assert 0 < float(low) <= float(high)
    assert ('by Cosub' in said) == ('--co-train' in options)
    if not options:
        said = refusal('analysis_tools/benchmark', capsys, *argv, '--co-train', 'cosub')
        assert 'give --train, too' in said


# ---- logs, configs, weights ------------------------------------------------------


def test_logs(run, tmp_path, capsys):
    logs = tool('analysis_tools/analyze_logs')
    picture = tmp_path / 'curves.png'
    keys = ['loss', 'label_view0', 'agreement', 'mIoU']
    argv = ['plot_curve', str(run['work_dir']), '--keys', *keys, '--out', str(picture)]
    logs.main(argv)
    assert cv2.imread(str(picture)).std() > 5
    logs.main(['cal_train_time', str(run['work_dir'])])
    assert 'average iter time' in capsys.readouterr().out
    name = 'analysis_tools/analyze_logs'
    said = refusal(name, capsys, 'cal_train_time', tmp_path)
    assert 'give the work directory of a training' in said
    assert 'these end in .json' in refusal(name, capsys, 'plot_curve', run['config'])
    assert 'plot_curve or cal_train_time' in refusal(name, capsys)
    said = refusal(name, capsys, 'plot_curve', run['work_dir'], '--keys', 'fun')
    assert 'Invalid key "fun"' in said


def test_curves_of_a_resumed_run_and_their_names(run, tmp_path, monkeypatch):
    """A run is one line, from its first iteration, with the folder's name."""
    resumed = tmp_path / 'resumed'
    shutil.copytree(run['work_dir'], resumed, ignore=shutil.ignore_patterns('*.pth'))
    (first,) = resumed.glob('*/vis_data/scalars.json')
    lines = first.read_text().splitlines()
    later = resumed / '29990101_000000' / 'vis_data' / 'scalars.json'
    later.parent.mkdir(parents=True)
    later.write_text(lines[-1])
    first.write_text('\n'.join(lines[:-1]))
    plot, drawn = pyplot.plot, {}

    def note(x, y, label, **options):
        drawn[label] = len(y)
        plot(x, y, label=label, **options)

    monkeypatch.setattr(pyplot, 'plot', note)
    both = [str(run['work_dir']), str(resumed)]
    keys = ['--keys', 'loss', '--out', str(tmp_path / 'curves.png')]
    tool('analysis_tools/analyze_logs').main(['plot_curve', *both, *keys])
    steps = len([line for line in lines if 'loss' in line])
    assert drawn == {f'{both[0]} loss': steps, f'{both[1]} loss': steps}


def test_print_config(run, capsys):
    argv = [str(run['config']), '--co-train', 'cosub', '--cfg-options']
    tool('misc/print_config').main([*argv, 'scheme.weight=0.3'])
    said = capsys.readouterr().out
    assert "type='mmcosub.Cosub'" in said
    assert 'weight=0.3' in said
    assert "type='EncoderDecoder'" in said


def test_publish(run, tmp_path, capsys):
    tool('model_converters/publish_model').main(
        [str(run['checkpoint']), str(tmp_path / 'tiny.pth')]
    )
    (file,) = tmp_path.glob('tiny-????????.pth')
    assert capsys.readouterr().out == f'Wrote {file}\n'
    before = torch.load(run['checkpoint'], weights_only=False)
    after = torch.load(file, weights_only=False)
    assert set(after) == {'meta', 'state_dict'}
    assert file.stat().st_size < run['checkpoint'].stat().st_size / 2
    for name, value in before['state_dict'].items():
        assert torch.equal(after['state_dict'][name], value)
    name = 'model_converters/publish_model'
    said = refusal(name, capsys, run['checkpoint'], tmp_path / 'no' / 'a.pth')
    assert 'create it first' in said
    said = refusal(name, capsys, run['checkpoint'], tmp_path / 'a.pth', '--no-ema')
    assert 'no average of weights' in said


def test_publish_trained_weights_or_their_average(run, tmp_path):
    from mmcosub.checkpoints import publish

    folder = tmp_path / 'files'
    folder.mkdir()
    average, trained = torch.zeros(2), torch.ones(2)
    kept = {'module.w': trained, 'steps': torch.tensor(4)}
    torch.save(
        dict(state_dict=dict(w=average), ema_state_dict=kept), tmp_path / 'ema.pth'
    )
    for choice, expected in ((True, average), (False, trained)):
        file = publish(str(tmp_path / 'ema.pth'), folder / 'a.pth', choice)
        assert torch.equal(torch.load(file)['state_dict']['w'], expected)
    shutil.rmtree(folder)
