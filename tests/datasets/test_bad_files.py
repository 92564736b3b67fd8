"""Data that are not what they seem: refused, or counted, listed and left out."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from conftest import load_tool
from PIL import Image

from benchmarks.fault_settings import Setting, arguments
from mmcosub.datasets.guard import BadSamples, GuardedPipeline

LABEL = 'scenes/annotations/training/3.png'


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Arguments to train a segmentor on data made below ``tmp_path``."""
    return [*arguments(Setting(), tmp_path, 4), '--work-dir', str(tmp_path / 'w')]


@pytest.fixture
def classes(tmp_path: Path) -> list[str]:
    """Arguments to train a classifier on data made below ``tmp_path``."""
    argv = arguments(Setting(classify=True), tmp_path, 4)
    return [*argv, '--work-dir', str(tmp_path / 'w')]


def other_size(path: Path) -> None:
    cv2.imwrite(str(path), np.ones((20, 24), np.uint8))


def sixteen_bits(path: Path) -> None:
    cv2.imwrite(str(path), np.full((40, 48), 257, np.uint16))


def floats(path: Path) -> None:
    Image.fromarray(np.full((40, 48), 1.5, np.float32), 'F').save(path, 'TIFF')


def all_ignored(path: Path) -> None:
    cv2.imwrite(str(path), np.full((40, 48), 0, np.uint8))  # reduce_zero_label


def refused(
    capsys: pytest.CaptureFixture, call: Callable, argv: list[str], status: int = 2
) -> str:
    with pytest.raises(SystemExit) as exit_:
        call(argv)
    assert exit_.value.code == status
    said = capsys.readouterr()
    return said.err if status == 2 else said.out


WRONG = [
    (other_size, 'is of 20x24 pixels, but the image'),
    (sixteen_bits, 'has the values [257], but label maps are read as 8-bit integers'),
    pytest.param(
        floats,
        'has the values [1.5], but label maps are read as 8-bit integers',
        marks=pytest.mark.filterwarnings('ignore'),
    ),
]


@pytest.mark.parametrize('sampled', [True, False])
@pytest.mark.parametrize(('spoil', 'said'), WRONG)
@pytest.mark.sweep(every=3)
def test_wrong_label_maps(
    spoil: Callable,
    said: str,
    sampled: bool,
    data: list[str],
    tmp_path: Path,
    train: ModuleType,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before training, or where it was not looked at before, when it is loaded."""
    spoil(tmp_path / LABEL)
    if not sampled:
        monkeypatch.setattr(
            'mmcosub.engine.data.check_segmentation_data', lambda *a, **k: None
        )
    line = refused(capsys, train.main, data)
    assert said in line
    assert LABEL in line


def test_skipped_counted_and_listed(
    data: list[str], tmp_path: Path, train: ModuleType
) -> None:
    """Another sample takes the place; a map with nothing to learn is only listed."""
    other_size(tmp_path / LABEL)
    all_ignored(tmp_path / LABEL.replace('3', '5'))
    (tmp_path / 'scenes/images/training/6.jpg').write_bytes(b'no picture')
    (tmp_path / LABEL.replace('3', '7')).unlink()
    options = ['bad_data=skip', 'train_cfg.max_iters=12']
    options += ['train_dataloader.num_workers=2']
    train.main([*data, '--cfg-options', *options])
    lines = (tmp_path / 'w' / 'bad_data.txt').read_text().splitlines()
    assert len(lines) == 4
    found = {line.split('.jpg')[0][-1]: line for line in lines}
    assert 'pixels, but the image' in found['3']
    assert 'every pixel of the label map is ignored' in found['5']
    assert 'could not be loaded' in found['6']
    assert 'there is no label' in found['7']
    log = next((tmp_path / 'w').glob('*/*.log')).read_text()
    assert '4 bad samples are listed in' in log


@pytest.mark.slow
def test_the_list_is_of_one_start(
    data: list[str], tmp_path: Path, train: ModuleType
) -> None:
    good = (tmp_path / LABEL).read_bytes()
    other_size(tmp_path / LABEL)
    train.main([*data, '--cfg-options', 'bad_data=skip'])
    assert LABEL in (tmp_path / 'w' / 'bad_data.txt').read_text()
    (tmp_path / LABEL).write_bytes(good)
    train.main([*data, '--cfg-options', 'bad_data=skip'])
    assert not (tmp_path / 'w' / 'bad_data.txt').exists()


@pytest.mark.parametrize('policy', ['raise', 'skip'])
@pytest.mark.parametrize('error', [TypeError, AttributeError, KeyError, IndexError])
def test_a_fault_of_a_transform_is_none_of_the_files(
    error: type[Exception], policy: str, tmp_path: Path
) -> None:
    def transform(sample: dict) -> dict:
        raise error('of the program')

    bad = BadSamples(policy, tmp_path / 'bad_data.txt')
    pipeline = GuardedPipeline(transform, None, 255, bad)
    said = r'function fails at a\.jpg .*because of a bug'
    with pytest.raises(ValueError, match=said):
        pipeline(dict(img_path='a.jpg'))
    assert bad.names() == []


def test_many_notes_of_several_processes(tmp_path: Path) -> None:
    both = [BadSamples('skip', tmp_path / 'bad_data.txt') for _ in range(2)]
    for bad in both * 2:
        for name in ('a', 'b'):
            bad.note(name, 'why')
    both[0].note('c', 'why')
    both[1].note('c', 'why')
    assert both[0].names() == both[1].names() == ['a', 'b', 'c']


def test_no_label_at_all(
    data: list[str], tmp_path: Path, train: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    for path in (tmp_path / LABEL).parent.iterdir():
        path.rename(path.with_name(f'x{path.name}'))
    said = refused(capsys, train.main, [*data, '--cfg-options', 'bad_data=skip'])
    assert '8 of 8 samples have no label' in said


def test_nothing_to_learn(
    data: list[str], tmp_path: Path, train: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    for path in (tmp_path / LABEL).parent.iterdir():
        all_ignored(path)
    assert 'have nothing but 255' in refused(capsys, train.main, data)


def test_masks_of_0_and_255(
    data: list[str], tmp_path: Path, train: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    for path in (tmp_path / LABEL).parent.iterdir():
        mask = np.where(cv2.imread(str(path), -1) > 2, 255, 1).astype(np.uint8)
        cv2.imwrite(str(path), mask)
    said = refused(capsys, train.main, data)
    assert 'have class 0 only, of 5, and 255, which is ignored' in said
    assert 'set reduce_zero_label=False' in said


def test_unknown_policy(
    data: list[str], train: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    said = refused(capsys, train.main, [*data, '--cfg-options', 'bad_data=ignore'])
    assert "bad_data='ignore' must be 'raise'" in said


def test_damaged_image_in_a_class_folder(
    classes: list[str],
    tmp_path: Path,
    train: ModuleType,
    capsys: pytest.CaptureFixture,
) -> None:
    bad = tmp_path / 'classes' / 'train' / 'a' / '0.png'
    bad.write_bytes(bad.read_bytes()[:50])
    assert str(bad) in refused(capsys, train.main, classes)
    train.main([*classes, '--cfg-options', 'bad_data=skip'])
    assert (tmp_path / 'w' / 'bad_data.txt').read_text().startswith(f'{bad}\t')


def test_other_class_folders_in_validation(
    classes: list[str],
    tmp_path: Path,
    train: ModuleType,
    capsys: pytest.CaptureFixture,
) -> None:
    folder = tmp_path / 'classes' / 'val'
    (folder / 'a').rename(folder / 'c')
    said = refused(capsys, train.main, classes)
    assert "only in training ['a'], only in validation ['c']" in said


def test_loop_of_links(
    data: list[str], tmp_path: Path, train: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'scenes/images/training/again').symlink_to(tmp_path / 'scenes')
    assert 'again is a link to a folder that it is in' in refused(
        capsys, train.main, data
    )


def test_blank_lines(
    data: list[str], tmp_path: Path, train: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'scenes' / 'list.txt').write_text('0\n\n1\n')
    options = ['--cfg-options', 'train_dataloader.dataset.ann_file=list.txt']
    assert 'list.txt has blank lines: line 2' in refused(
        capsys, train.main, [*data, *options]
    )


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('model.auxiliary_head.ignore_index=7', 'auxiliary_head.ignore_index is 7'),
        ('model.auxiliary_head.num_classes=7', 'auxiliary_head.num_classes is 7'),
        (
            'model.decode_head.loss_decode.class_weight=[1.0,2.0]',
            'class_weight has 2 weights, but there are 5 classes',
        ),
    ],
)
def test_heads_that_disagree(
    option: str,
    said: str,
    data: list[str],
    train: ModuleType,
    capsys: pytest.CaptureFixture,
) -> None:
    assert said in refused(capsys, train.main, [*data, '--cfg-options', option])


@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded')
def test_tool(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every sample is looked at; pictures that OpenCV reads although cut short, too."""
    tool = load_tool('analysis_tools/check_dataset')
    tool.main([*data, '--processes', '2'])
    said = capsys.readouterr().out
    assert 'train: 8 samples, none is bad' in said
    assert 'in 8 label maps every class occurs; 0.0% of pixels are ignored' in said
    other_size(tmp_path / LABEL)
    sixteen_bits(tmp_path / LABEL.replace('3', '4'))
    all_ignored(tmp_path / LABEL.replace('3', '5'))
    image = tmp_path / 'scenes/images/training/6.jpg'
    image.write_bytes(image.read_bytes()[:-300])
    said = refused(capsys, tool.main, [*data, '--processes', '2'], status=1)
    assert 'train: 4 of 8 samples are bad' in said
    assert 'val: 4 samples, none is bad' in said
    lines = (tmp_path / 'w' / 'bad_train.txt').read_text().splitlines()
    expected = ['pixels, but the image', '[257]', 'every pixel', 'truncated']
    assert all(part in line for part, line in zip(expected, lines, strict=True))


def test_tool_with_a_picture_too_large_for_memory(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Its header says 100,000 x 100,000; nothing of it may be allocated."""
    path = tmp_path / 'scenes/images/training/6.jpg'
    header = struct.pack('>4sIIBBBBB', b'IHDR', 100_000, 100_000, 8, 2, 0, 0, 0)
    png = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + header
    data_begins = struct.pack('>II4s', zlib.crc32(header), 50, b'IDAT')
    path.write_bytes(png + data_begins + bytes(50))
    tool = load_tool('analysis_tools/check_dataset')
    refused(capsys, tool.main, data, status=1)
    (line,) = (tmp_path / 'w' / 'bad_train.txt').read_text().splitlines()
    assert f'{path} cannot be read: 100000 x 100000 pixels are more' in line


@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded')
def test_tool_with_masks_of_0_and_255(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'w').mkdir()
    (tmp_path / 'w' / 'bad_train.txt').write_text('of an earlier look')
    for path in (tmp_path / LABEL).parent.iterdir():
        mask = np.where(cv2.imread(str(path), 0) > 2, 255, 1).astype(np.uint8)
        cv2.imwrite(str(path), mask)
    tool = load_tool('analysis_tools/check_dataset')
    said = refused(capsys, tool.main, [*data, '--processes', '2'], status=1)
    assert 'train: all label maps have class 0 only, of 5, and 255' in said
    assert 'set reduce_zero_label=False' in said
    assert 'none is bad' not in said.replace('val: 4 samples, none is bad', '')
    assert not (tmp_path / 'w' / 'bad_train.txt').exists()


def test_tool_without_images(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tool = load_tool('analysis_tools/check_dataset')
    images = tmp_path / 'scenes/images/training'
    for image in images.iterdir():
        image.unlink()
    said = refused(capsys, tool.main, data)
    assert f'{images} has no file *.jpg' in said


def test_tool_with_unlabelled_images(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Their number, formats and sizes, those that are labelled, and broken ones."""
    folder = tmp_path / 'unlabelled'
    folder.mkdir()
    labelled = tmp_path / 'scenes/images/training'
    (folder / 'linked.jpg').symlink_to(labelled / '0.jpg')
    (folder / 'copied.jpg').write_bytes((labelled / '1.jpg').read_bytes())
    cv2.imwrite(str(folder / 'other.png'), np.zeros((20, 30), np.uint8))
    tool = load_tool('analysis_tools/check_dataset')
    argv = [*data, '--splits', 'val', '--processes', '1', '--unlabelled', str(folder)]
    tool.main(argv)
    said = capsys.readouterr().out
    assert 'unlabelled: 3 images: .jpg, .png, 30x20 to 48x40 pixels' in said
    assert 'RGB of 8 bits, grey of 8 bits; 1 of them in the training data, too' in said
    assert 'unlabelled: 3 samples, none is bad' in said
    (folder / 'other.png').write_bytes(b'no picture')
    said = refused(capsys, tool.main, argv, status=1)
    assert 'unlabelled: 1 of 3 samples are bad' in said
    assert 'other.png cannot be read' in said


def test_names_of_any_bytes_are_listed(tmp_path: Path) -> None:
    bad = BadSamples('skip', tmp_path / 'bad_data.txt')
    names = [os.fsdecode(b'lat\xfcn.png'), 'line\u2028separator.png']
    for name in names:
        bad.note(name, 'cut short')
    assert bad.names() == names
