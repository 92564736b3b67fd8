import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import load_tool

tool = load_tool('demo')


def log(folder, *values):
    path = folder / '20260101' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(v) + '\n' for v in values))


def test_curve(tmp_path):
    log(tmp_path, dict(loss=1.0, step=1), dict(mIoU=20, step=5), dict(mIoU=30, step=10))
    assert tool.curve(tmp_path, 'mIoU') == [(5, 20.0), (10, 30.0)]
    with pytest.raises(ValueError, match='There is no accuracy/top1'):
        tool.curve(tmp_path, 'accuracy/top1')


@pytest.mark.parametrize(
    ('line', 'share'),
    [
        ('Iter(train) [ 40/800]  lr: 1e-3  loss: 1.5', 0.05),
        ('Epoch(train) [2][ 50/100]  lr: 1e-3', 0.75),
        ('Loads checkpoint by local backend', None),
    ],
)
def test_progress(line, share):
    assert tool.progress_in(line, epochs=2) == share


def test_a_tool_that_fails_ends_the_demo_with_its_log(tmp_path):
    command = ['-c', 'print("it broke"); raise SystemExit(3)']
    with pytest.raises(RuntimeError, match=r'it broke[\s\S]*digits failed.*log\.txt'):
        tool.run('digits', command, tmp_path / 'log.txt')


def test_picture_shows_predictions_of_every_run(tmp_path):
    data = tmp_path / 'digit_scenes'
    folders = [data / kind / 'validation' for kind in ('images', 'annotations')]
    for start in tool.STARTS:
        run = tmp_path / f'swin-{start}'
        log(run, dict(mIoU=20, step=5), dict(mIoU=30, step=10))
        folders.append(run / 'predictions')
    for value, folder in enumerate(folders):
        folder.mkdir(parents=True)
        shape = (8, 8, 3) if folder == folders[0] else (8, 8)
        for name in ('00000.png', '00001.png'):
            assert cv2.imwrite(str(folder / name), np.full(shape, value, np.uint8))
    picture = cv2.imread(str(tool.draw(tmp_path, data, ['swin'], rows=2)))
    from mmcosub.datasets import DigitScenesDataset

    shown = {tuple(c) for c in picture[..., ::-1].reshape(-1, 3).tolist()}
    palette = DigitScenesDataset.METAINFO['palette']
    assert {tuple(palette[value]) for value in (1, 2, 3)} < shown


def test_report_is_of_all_trainings(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        tool, 'run', lambda name, command, log: commands.append(command)
    )
    args = argparse.Namespace(out=tmp_path, networks=['swin', 'vit'])
    assert tool.report(args) == tmp_path / 'report.html'
    ((script, _, page, *folders),) = commands
    assert Path(script).is_file()
    assert page == str(tmp_path / 'report.html')
    runs = ('scratch', 'pretrained')
    names = [f'{network}-{run}' for network in args.networks for run in runs]
    names += ['swin-digits', 'vit-digits']
    assert folders == [str(tmp_path / name) for name in names]
