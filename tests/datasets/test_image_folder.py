import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain.datasets import CustomDataset
from torch.utils.data import DataLoader

from mmcosub.datasets import ImageFolder, folder_cache, folder_scan

FILES = ('b/2.jpg', 'b/10.JPEG', 'b/z/1.png', 'b/a/deep/1.bmp', 'b/note.txt', 'a/ä.jpg')
INDEX = '.mmcosub_index.npy'


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'images'
    add(root, *FILES)
    return root


@pytest.fixture
def scans(monkeypatch):
    """The folders that have been looked through."""
    folders = []

    def scan(folder, *args):
        folders.append(folder)
        return folder_scan.scan(folder, *args)

    monkeypatch.setattr(folder_cache, 'scan', scan)
    return folders


@pytest.fixture
def said(monkeypatch):
    lines = []
    for module in (folder_cache, 'mmcosub.datasets.image_folder'):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f'{name}.print_log', lambda text, *_: lines.append(text))
    return lines


def add(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')
    settle(root)


def settle(root):
    """Let every change of this minute have been an hour ago."""
    for folder, _, _ in os.walk(root):
        then = os.stat(folder).st_mtime_ns
        if then > time.time_ns() - 60 * 10**9:
            os.utime(folder, ns=(then - 3600 * 10**9,) * 2)


def items(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def names(dataset):
    return [os.path.relpath(i['img_path'], dataset.img_prefix) for i in items(dataset)]


@pytest.mark.parametrize('as_prefix', [False, True])
def test_same_as_custom_dataset(root, as_prefix):
    where = dict(data_root=str(root))
    if as_prefix:
        where = dict(data_root=str(root.parent), data_prefix=root.name)
    expected = CustomDataset(**where)
    for _ in range(2):
        dataset = ImageFolder(**where)
        assert items(dataset) == items(expected)
        assert list(dataset) == list(expected)
        assert dataset.metainfo == expected.metainfo
        assert dataset.class_to_idx == expected.class_to_idx
        assert np.array_equal(dataset.get_gt_labels(), expected.get_gt_labels())
        assert dataset.get_cat_ids(0) == expected.get_cat_ids(0)
        assert dataset.get_data_info(-1) == expected.get_data_info(-1)
    # The index is in the folder by now, and others do not take it for a class.
    assert items(CustomDataset(**where)) == items(expected)


def test_any_file_name(root):
    odd = os.path.join(root, 'a', os.fsdecode(b'\xff.jpg'))  # no UTF-8
    with open(odd, 'wb'):
        dataset = ImageFolder(str(root))
    assert dataset[1]['img_path'] == odd


def test_hidden_names_are_left_out(root):
    add(root, '.git/1.jpg', 'a/.thumbnails/1.jpg', 'a/._1.jpg')
    dataset = ImageFolder(str(root))
    assert dataset.CLASSES == ('a', 'b')
    assert names(dataset)[:2] == ['a/ä.jpg', 'b/10.JPEG']


def test_links_are_followed(root, tmp_path):
    add(tmp_path / 'elsewhere', '1.jpg')
    (root / 'c').symlink_to(tmp_path / 'elsewhere')
    (root / 'a' / '2.jpg').symlink_to(root / 'b' / '2.jpg')
    (root / 'a' / 'nowhere.jpg').symlink_to(root / 'nowhere')
    assert items(ImageFolder(str(root))) == items(CustomDataset(str(root)))
    (root / 'a' / 'again').symlink_to(root / 'a')
    with pytest.raises(ValueError, match=r'a/again/? is a link to a folder that it is'):
        ImageFolder(str(root))


def test_second_start_looks_into_no_class_folder(root, scans, monkeypatch):
    first = items(ImageFolder(str(root)))
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(
        os, 'scandir', lambda path: listed.append(path) or scandir(path)
    )
    assert items(ImageFolder(str(root))) == first
    assert listed == [f'{root}/']
    assert len(scans) == 1


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda root: add(root, 'a/new.jpg'), 'a has changed'),
        (lambda root: (root / 'b/2.jpg').unlink(), 'b has changed'),
        (lambda root: (root / 'b/2.jpg').rename(root / 'b/3.jpg'), 'b has changed'),
        (lambda root: add(root, 'b/a/deep/new.jpg'), 'b/a/deep has changed'),
        (lambda root: (root / 'b/z').rename(root / 'b/y'), 'b'),
        (lambda root: add(root, 'c/1.jpg'), 'class folder c is new'),
        (lambda root: (root / 'a').rename(root / 'c'), 'class folder a is gone'),
        (lambda root: (root / INDEX).write_bytes(b''), 'cannot be used'),
        (lambda root: (root / INDEX).write_bytes(b'\x93NUMPY\1\0'), 'cannot be used'),
        (lambda root: np.save(root / INDEX, np.zeros(3)), 'something else'),
        (lambda root: os.truncate(root / INDEX, 1000), 'cannot be used'),
        (lambda root: flip_a_bit(root / INDEX), 'checksum'),
    ],
)
def test_a_change_is_found(root, scans, said, change, reason):
    ImageFolder(str(root))
    change(root)
    settle(root)
    said.clear()
    dataset = ImageFolder(str(root))
    assert len(scans) == 2
    assert len(said) == 1
    assert reason in said[0]
    assert items(dataset) == items(CustomDataset(str(root)))
    assert items(ImageFolder(str(root))) == items(dataset)
    assert len(scans) == 2


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_other_extensions(root, scans, said):
    ImageFolder(str(root))
    dataset = ImageFolder(str(root), extensions=['.TXT', '.png'])
    assert names(dataset) == ['b/note.txt', 'b/z/1.png']
    assert 'extensions were .bmp, ' in said[1]
    assert len(scans) == 2


def test_index_of_another_format(root, scans, said, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr('mmcosub.datasets.folder_index.VERSION', 0)
        ImageFolder(str(root))
    ImageFolder(str(root))
    assert 'its format is 0, not 1' in said[1]


def test_a_folder_that_changes_as_it_is_scanned_is_not_trusted(root, scans, said):
    # In the second of the scan, as far as the clock of the file system tells.
    os.utime(root / 'a', ns=(time.time_ns(),) * 2)
    ImageFolder(str(root))
    ImageFolder(str(root))
    assert 'a had only just changed' in said[1]
    settle(root)
    ImageFolder(str(root))
    ImageFolder(str(root))
    assert len(scans) == 3


@pytest.mark.parametrize('settled', [True, False])
def test_of_those_that_start_together_one_scans(root, scans, monkeypatch, settled):
    if not settled:
        (root / 'a' / 'new.jpg').touch()
    scan = folder_cache.scan

    def scan_slowly(*args):
        time.sleep(0.5)
        return scan(*args)

    monkeypatch.setattr(folder_cache, 'scan', scan_slowly)
    with ThreadPoolExecutor(3) as pool:  # the lock is between threads as well
        started = list(pool.map(ImageFolder, [str(root)] * 3))
    expected = items(CustomDataset(str(root)))
    assert all(items(dataset) == expected for dataset in started)
    assert len(scans) == 1


def test_a_folder_that_cannot_be_written(root, scans, tmp_path, monkeypatch):
    refuse(monkeypatch, root)
    first = ImageFolder(str(root))
    assert items(ImageFolder(str(root))) == items(first)
    assert len(scans) == 1
    assert first.index.path.parent == tmp_path / 'cache' / 'mmcosub'
    assert not [name for name in os.listdir(root) if name.startswith('.')]


def test_no_place_can_be_written(root, scans, said, tmp_path, monkeypatch):
    refuse(monkeypatch, tmp_path)
    dataset = ImageFolder(str(root))
    assert 'Set index_file' in said[1]
    assert items(dataset) == items(CustomDataset(str(root)))
    assert items(pickle.loads(pickle.dumps(dataset))) == items(dataset)


def refuse(monkeypatch, folder):
    """Let nothing be written below a folder; permissions do not stop root."""
    save = folder_cache.save

    def save_elsewhere(index, path):
        if folder in path.parents:
            raise PermissionError(13, 'Permission denied', str(path))
        return save(index, path)

    monkeypatch.setattr(folder_cache, 'save', save_elsewhere)


def test_index_file(root, scans, tmp_path):
    path = tmp_path / 'some' / 'where.npy'
    for _ in range(2):
        dataset = ImageFolder(str(root), index_file=str(path))
        assert items(dataset) == items(CustomDataset(str(root)))
    assert path.is_file()
    assert not (root / INDEX).exists()
    assert len(scans) == 1


def test_index_moves_with_its_folder(root, scans):
    ImageFolder(str(root))
    moved = root.rename(root.with_name('moved'))
    assert items(ImageFolder(str(moved))) == items(CustomDataset(str(moved)))
    assert len(scans) == 1


def test_a_write_cut_short_leaves_nothing(root, monkeypatch):
    def fail(*_):
        raise OSError('disk is full')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', fail)
        assert ImageFolder(str(root)).index.path is None
    assert sorted(os.listdir(root)) == ['a', 'b']


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no folder .*gone.*data_root'):
        ImageFolder(str(tmp_path / 'gone'))
    with pytest.raises(ValueError, match=r'with no classes: it has no folder in it\. '):
        ImageFolder(str(tmp_path))
    add(tmp_path, '1.jpg', '2.png')
    with pytest.raises(ValueError, match=r'with no classes.* but 2 images.*per class'):
        ImageFolder(str(tmp_path))
    add(tmp_path, 'a/1.txt', 'b/2.txt')
    with pytest.raises(ValueError, match=r'no image in any of its 2 .*\(a, b\).*\.bmp'):
        ImageFolder(str(tmp_path))
    with pytest.raises(ValueError, match='data_root or data_prefix'):
        ImageFolder()
    with pytest.raises(ValueError, match=r"such as \['.jpg'\]"):
        ImageFolder(str(tmp_path), extensions='.jpg')
    with pytest.raises(ValueError, match='img_path=folder'):
        ImageFolder(str(tmp_path), data_prefix=dict(img='a'))


def test_classes(root):
    for given in (['a', 'b'], ['fish', 'bird']):
        for how in (dict(classes=given), dict(metainfo=dict(classes=given))):
            assert list(ImageFolder(str(root), **how).CLASSES) == given
    for given, message in (
        (['a', 'b', 'c'], 'has 2 class folders, and classes 3 .* folder: c; .*: none'),
        (['a', 'c'], 'with no folder: c; folders with no name: b'),
        (['b', 'a'], 'another order'),
    ):
        with pytest.raises(ValueError, match=message):
            ImageFolder(str(root), classes=given)


def test_empty_classes(root, said):
    for i in range(7):
        (root / f'e{i}').mkdir()
    for _ in range(2):
        said.clear()
        assert ImageFolder(str(root)).class_to_idx['e6'] == 8
        assert '7 class folders with no image: e0, e1, e2, e3, e4 and 2' in said[-1]


def test_lazy_init(root, scans):
    dataset = ImageFolder(str(root), lazy_init=True)
    assert not scans
    assert len(dataset) == 5
    assert len(scans) == 1


def test_subsets(root):
    expected = items(CustomDataset(str(root)))
    for indices in (2, -2, [3, 0], np.array([1])):
        chosen = range(5)
        if isinstance(indices, int):
            chosen = chosen[:indices] if indices > 0 else chosen[indices:]
        else:
            chosen = indices
        wanted = [{**expected[i], 'sample_idx': n} for n, i in enumerate(chosen)]
        dataset = ImageFolder(str(root), indices=indices)
        assert items(dataset) == wanted
        assert dataset.get_gt_labels().tolist() == [i['gt_label'] for i in wanted]
    whole = ImageFolder(str(root))
    part = whole.get_subset(3).get_subset([2])
    assert items(part) == [{**expected[2], 'sample_idx': 0}]
    assert len(whole) == 5
    with pytest.raises(IndexError):
        whole.get_data_info(5)


def test_pickles_small(root):
    dataset = ImageFolder(str(root))
    text = pickle.dumps(dataset.index)
    assert os.fsencode('ä.jpg') not in text
    assert items(pickle.loads(pickle.dumps(dataset))) == items(dataset)
    add(root, 'a/new.jpg')
    ImageFolder(str(root))
    with pytest.raises(RuntimeError, match='not what it was when this run began'):
        pickle.loads(text)


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers(root, method):
    for name in FILES:
        cv2.imwrite(str(root / 'image.png'), np.full((4, 4, 3), len(name), np.uint8))
        os.replace(root / 'image.png', root / name)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(
        dict(type='mmcosub.ImageFolder', data_root=str(root), pipeline=pipeline)
    )
    loader = DataLoader(
        dataset, 2, num_workers=2, collate_fn=list, multiprocessing_context=method
    )
    samples = [sample['data_samples'] for batch in loader for sample in batch]
    assert [s.img_path for s in samples] == [i['img_path'] for i in items(dataset)]
    assert [int(s.gt_label) for s in samples] == [0, 1, 1, 1, 1]


def test_wrappers(root):
    leaf = dict(type='mmcosub.ImageFolder', data_root=str(root))
    init_default_scope('mmpretrain')
    twice = DATASETS.build(dict(type='RepeatDataset', times=2, dataset=leaf))
    both = DATASETS.build(dict(type='ConcatDataset', datasets=[leaf, leaf]))
    for wrapper in (twice, both):
        assert len(wrapper) == 10
        assert wrapper.get_data_info(7)['img_path'] == f'{root}/b/2.jpg'
    balanced = DATASETS.build(
        dict(type='ClassBalancedDataset', dataset=leaf, oversample_thr=0.5)
    )
    assert len(balanced) > 5


def test_description(root):
    assert f'Image folder: \t{root}' in repr(ImageFolder(str(root)))
