import pickle

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmcosub.datasets.checks import (
    check_class_folders,
    check_places,
    check_segmentation_data,
)
from mmcosub.datasets.guard import GuardedPipeline, guard
from mmcosub.datasets.inspection import Inspected

CLASSES = ('a', 'b', 'c')


@pytest.fixture
def data(tmp_path):
    """Three images with labels of three classes, and the config of a dataset."""
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
    for i in range(3):
        image = np.full((8, 8, 3), 60 * i, np.uint8)
        cv2.imwrite(str(tmp_path / 'images' / f'{i}.jpg'), image)
        label(tmp_path, i, [[i, 255]])
    init_default_scope('mmseg')
    return dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        metainfo=dict(classes=CLASSES),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    )


def label(root, i, values):
    array = np.array(values, np.uint8).repeat(8, 0).repeat(4, 1)
    cv2.imwrite(str(root / 'labels' / f'{i}.png'), array)


@pytest.fixture
def logged(monkeypatch):
    """Lines that the checks log."""
    lines = []
    for module in ('inspection', 'listing'):
        name = f'mmcosub.datasets.{module}.print_log'
        monkeypatch.setattr(name, lambda line, *_: lines.append(line))
    return lines


@pytest.mark.parametrize(
    'wrap',
    [
        lambda data: data,
        lambda data: dict(type='RepeatDataset', dataset=data, times=2),
        lambda data: dict(type='ConcatDataset', datasets=[data, data]),
    ],
)
def test_good_data_pass_and_bad_ones_do_not(data, tmp_path, wrap):
    check_segmentation_data(wrap(data), 3)
    label(tmp_path, 1, [[1, 7]])
    with pytest.raises(ValueError, match=r'labels/1.png has the values \[7\].*0 to 2'):
        check_segmentation_data(wrap(data), 3)


def test_reduce_zero_label_is_taken_into_account(data, tmp_path):
    label(tmp_path, 1, [[1, 3]])
    with pytest.raises(ValueError, match='reduce_zero_label=True'):
        check_segmentation_data(data, 3)
    data['reduce_zero_label'] = True
    check_segmentation_data(data, 3)


def test_class_count(data):
    message = r'3 classes, but the model 19.*model.decode_head.* to 3'
    with pytest.raises(ValueError, match=message):
        check_segmentation_data(data, 19)


def test_missing_folder(data):
    data['data_prefix']['img_path'] = 'pictures'
    with pytest.raises(FileNotFoundError, match=r'no folder .*pictures.*data_root'):
        check_segmentation_data(data, 3)


def test_empty_folder(data):
    data['img_suffix'] = '.bmp'
    said = r"images has no file \*.bmp, but \*.jpg, for img_suffix='.jpg'. Set"
    with pytest.raises(FileNotFoundError, match=said):
        check_segmentation_data(data, 3)


def test_image_without_label(data, tmp_path):
    (tmp_path / 'labels' / '2.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'1 of 3 samples have no label.*labels/2.png'
    ):
        check_segmentation_data(data, 3)


def test_list_of_images(data, tmp_path):
    data['ann_file'] = 'list.txt'
    with pytest.raises(FileNotFoundError, match=r'no ann_file .*list.txt'):
        check_segmentation_data(data, 3)
    (tmp_path / 'list.txt').write_text('0\nlost\n')
    with pytest.raises(FileNotFoundError, match=r'1 of 2 .* no image.*lost.jpg'):
        check_segmentation_data(data, 3)
    (tmp_path / 'list.txt').write_text('')
    with pytest.raises(ValueError, match=r'is empty: .*list.txt names no image'):
        check_segmentation_data(data, 3)


def test_coloured_label(data, tmp_path):
    data['pipeline'][1]['imdecode_backend'] = 'cv2'
    cv2.imwrite(str(tmp_path / 'labels' / '0.png'), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r'labels/0.png has 3 channels.*mmcosub init'):
        check_segmentation_data(data, 3)


def test_coloured_label_while_loading(tmp_path):
    """As `check-dataset` does: colours are named, not their values."""
    mask = str(tmp_path / 'm.png')
    cv2.imwrite(mask, np.full((8, 8, 3), 128, np.uint8))
    guarded = GuardedPipeline(LoadAnnotations(imdecode_backend='cv2'), 3, 255)
    info = dict(seg_map_path=mask, reduce_zero_label=False, seg_fields=[])
    with pytest.raises(ValueError, match=r'm.png has 3 channels.*mmcosub init'):
        guarded(info)


def test_left_out_by_suffix(data, tmp_path, logged):
    """Suffixes in capitals are refused; other pictures are reported, but no labels."""
    images = tmp_path / 'images'
    (images / '1.jpg').rename(images / '1.JPG')
    said = r"1 of 3 files in .*images are left out, as 1\.JPG, because img_suffix is '"
    with pytest.raises(ValueError, match=said):
        check_segmentation_data(data, 3)
    (images / '1.JPG').rename(images / '1.png')
    check_segmentation_data(data, 3)
    left_out, _ = logged
    assert left_out.startswith('1 of 3 files in')
    assert "left out: they end in .png, and img_suffix is '.jpg'" in left_out
    logged.clear()
    (images / '1.png').rename(images / '1.jpg')
    for path in (tmp_path / 'labels').iterdir():
        path.rename(images / path.name)
    data['data_prefix']['seg_map_path'] = 'images'
    check_segmentation_data(data, 3)
    assert 'left out' not in ''.join(logged)


# ---- classes that never occur ----------------------------------------------------


@pytest.mark.parametrize(
    ('values', 'settings', 'said'),
    [
        ([0, 255], {}, r'class 0 only, of 3, and 255.*\(50\.0% of .*masks again'),
        ([255, 255], {}, r'nothing but 255, which is ignored.*save the masks'),
        ([2, 2], {}, r'class 2 only, of 3\. Check data_prefix'),
        (
            [0, 1],
            {'reduce_zero_label': True},
            'class 0 only.*reduce_zero_label=False',
        ),
        (
            [0, 255],
            {'reduce_zero_label': True},
            'but 255.*reduce_zero_label=False',
        ),
    ],
)
def test_nothing_to_tell_apart(data, tmp_path, values, settings, said, logged):
    for i in range(3):
        label(tmp_path, i, [values])
    data |= settings
    with pytest.raises(
        ValueError, match=f'All 3 label maps of BaseSegDataset have .*{said}'
    ):
        check_segmentation_data(data, 3)
    if 'class' in said:  # one, of which there is something to measure
        check_segmentation_data(data, 3, trains=False)
        assert 'All 3 label maps' in logged[0]


def test_a_second_class_in_one_map_that_is_not_sampled(data, tmp_path):
    for i in range(3):
        label(tmp_path, i, [[0, 255]])
    label(tmp_path, 1, [[0, 2]])
    check_segmentation_data(data, 3, samples=2)


def test_classes_and_ignored_pixels_are_reported(data, tmp_path, logged):
    label(tmp_path, 2, [[0, 0]])
    check_segmentation_data(data, 3)
    assert logged == [
        'BaseSegDataset: in 3 of 3 label maps 1 of 3 classes never occur (c); '
        '33.3% of pixels are ignored.'
    ]


# ---- EXIF orientation ------------------------------------------------------------


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('flag', ['color', 'color_ignore_orientation', 'unchanged'])
@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('turned', [False, True])
@pytest.mark.sweep(every=9)
def test_orientation(data, tmp_path, logged, backend, flag, orientation, turned):
    """What passes is what the loader gives, and what it turns in silence is said."""
    if backend == 'pillow' and flag == 'color_ignore_orientation':
        pytest.skip('MMCV has no such mode')
    exif = Image.Exif()
    exif[0x0112] = orientation
    shape = (4, 8) if turned and orientation >= 5 else (8, 4)
    for i in range(3):
        path = tmp_path / 'images' / f'{i}.jpg'
        Image.fromarray(np.zeros((8, 4, 3), np.uint8)).save(path, exif=exif)
        values = np.arange(32, dtype=np.uint8).reshape(shape) % 3
        cv2.imwrite(str(tmp_path / 'labels' / f'{i}.png'), values)
    data['pipeline'][0].update(color_type=flag, imdecode_backend=backend)
    loaded = DATASETS.build(data)[0]['data_samples'].ori_shape
    if loaded == shape:
        check_segmentation_data(data, 3)
    else:
        with pytest.raises(ValueError, match=f'has EXIF orientation {orientation}'):
            check_segmentation_data(data, 3)
    alone = flag == 'color' and orientation in (2, 3, 4)
    assert ('3 of 3 images have an EXIF orientation' in ''.join(logged)) == alone
    found = Inspected(DATASETS.build(data))[0]
    assert bool(found.problem) == (loaded != shape)
    assert bool(found.turned) == alone


@pytest.mark.filterwarnings('ignore:.*will be deprecated')
def test_two_opinions_on_zero(data):
    data['pipeline'][1]['reduce_zero_label'] = True
    with pytest.raises(ValueError, match=r'reduce_zero_label=True, but BaseSegDataset'):
        check_segmentation_data(data, 3)


def test_unreadable_label(data, tmp_path):
    (tmp_path / 'labels' / '0.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'labels/0.png could not be loaded'):
        check_segmentation_data(data, 3)


def test_guard_names_the_unreadable_image(data, tmp_path):
    dataset = DATASETS.build(data)
    guard(dataset, 3)
    assert dataset[0]['inputs'].shape == (3, 8, 8)
    (tmp_path / 'images' / '1.jpg').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'images/1.jpg and .*labels/1.png could not'):
        dataset[1]


def test_guard_names_the_label_out_of_range(data, tmp_path):
    dataset = DATASETS.build(dict(type='RepeatDataset', dataset=data, times=2))
    guard(dataset, 3)
    label(tmp_path, 2, [[9, 2]])
    assert dataset[0] is not None
    with pytest.raises(ValueError, match=r'labels/2.png has the values \[9\]'):
        dataset[2]


def test_guard_once_and_picklable(data):
    dataset = DATASETS.build(data)
    guard(dataset, 3)
    guard(dataset, 3)
    assert not isinstance(dataset.pipeline.pipeline, GuardedPipeline)
    assert len(dataset.pipeline.transforms) == 3
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[0]['inputs'].shape == (3, 8, 8)


def test_linked_subfolders(data, tmp_path):
    for kind in ('images', 'labels'):
        (tmp_path / kind).rename(tmp_path / f'{kind}_of_one_city')
        (tmp_path / kind).mkdir()
        (tmp_path / kind / 'city').symlink_to(tmp_path / f'{kind}_of_one_city')
    check_segmentation_data(data, 3)
    data['img_suffix'] = '.bmp'
    with pytest.raises(FileNotFoundError, match=r'images has no file \*.bmp'):
        check_segmentation_data(data, 3)


def test_pictures_above_the_limit_of_pillow(data, monkeypatch):
    data['pipeline'][1]['imdecode_backend'] = 'cv2'
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 20)
    check_segmentation_data(data, 3)
    dataset = DATASETS.build(data)
    assert Inspected(dataset)[0].problem is None
    guard(dataset, 3)
    assert dataset[0]['inputs'].shape == (3, 8, 8)


class OfTheirSignature(BaseSegDataset):
    """A user's, of which a config says nothing but the root."""

    def __init__(self, root, pipeline):
        prefix = dict(img_path='images', seg_map_path='labels')
        meta = dict(classes=CLASSES)
        super().__init__(
            data_root=root, data_prefix=prefix, metainfo=meta, pipeline=pipeline
        )


class InAnArchive(BaseSegDataset):
    """A user's, whose samples are no files."""

    METAINFO = dict(classes=CLASSES)

    def load_data_list(self):
        return [dict(img_path=f'{self.ann_file}::{i}') for i in range(3)]


class TimesHundred(LoadAnnotations):
    """A user's, that reads labels of 16 bits."""

    def _load_seg_map(self, results):
        labels = cv2.imread(results['seg_map_path'], cv2.IMREAD_UNCHANGED)
        results['gt_seg_map'] = (labels // 300).astype(np.uint8)
        results['seg_fields'].append('gt_seg_map')


class Halved:
    """A user's, that gives labels other numbers."""

    def __call__(self, results):
        labels = results['gt_seg_map']
        results['gt_seg_map'] = np.where(labels == 255, 255, labels // 2)
        return results


@pytest.fixture
def theirs(monkeypatch):
    """Names of a user's classes, as configs know them."""
    for registry, kinds in (
        (DATASETS, (OfTheirSignature, InAnArchive)),
        (TRANSFORMS, (TimesHundred, Halved)),
    ):
        for kind in kinds:
            monkeypatch.setitem(registry._module_dict, kind.__name__, kind)


@pytest.mark.usefixtures('theirs')
def test_datasets_of_another_signature(data, tmp_path):
    config = dict(type='OfTheirSignature', root=str(tmp_path))
    config['pipeline'] = data['pipeline']
    (tmp_path / 'images').rename(tmp_path / 'elsewhere')
    with pytest.raises((FileNotFoundError, ValueError)):
        check_segmentation_data(config, 3)
    (tmp_path / 'elsewhere').rename(tmp_path / 'images')
    check_segmentation_data(config, 3)
    with pytest.raises(ValueError, match='has 3 classes, but the model 4'):
        check_segmentation_data(config, 4)
    label(tmp_path, 1, [[1, 7]])
    with pytest.raises(ValueError, match=r'1.png has the values \[7\]'):
        check_segmentation_data(config, 3)


@pytest.mark.usefixtures('theirs')
def test_samples_that_are_no_files(tmp_path):
    config = dict(type='InAnArchive', data_root=str(tmp_path), ann_file='all.lmdb')
    check_segmentation_data(config, 3)
    with pytest.raises(ValueError, match='has 3 classes, but the model 4'):
        check_segmentation_data(config, 4)


@pytest.mark.usefixtures('theirs')
def test_labels_that_are_given_other_numbers(data, tmp_path):
    """What counts is what the pipeline ends with, seen as each sample is loaded."""
    label(tmp_path, 1, [[1, 5]])
    with pytest.raises(ValueError, match=r'the values \[5\]'):
        check_segmentation_data(data, 3)
    data['pipeline'].insert(2, dict(type='Halved'))
    check_segmentation_data(data, 3)
    dataset = DATASETS.build(data)
    guard(dataset, 3)
    assert dataset[1]['data_samples'].gt_sem_seg.data.unique().tolist() == [0, 2]
    label(tmp_path, 1, [[1, 7]])
    with pytest.raises(ValueError, match=r'1.png has the values \[3\]'):
        dataset[1]


@pytest.mark.usefixtures('theirs')
def test_labels_of_16_bits_read_as_such(data, tmp_path):
    values = np.full((8, 8), 600, np.uint16)
    cv2.imwrite(str(tmp_path / 'labels' / '1.png'), values)
    data['pipeline'][1] = dict(type='TimesHundred')
    check_segmentation_data(data, 3)
    dataset = DATASETS.build(data)
    guard(dataset, 3)
    assert dataset[1]['data_samples'].gt_sem_seg.data.unique().tolist() == [2]


def test_names_of_class_folders(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / '0.png'), np.zeros((4, 4), np.uint8))
    init_default_scope('mmpretrain')
    for classes in (None, ['a', 'b'], ['goldfish', 'shark']):
        config = dict(type='CustomDataset', data_root=str(tmp_path), classes=classes)
        check_class_folders(DATASETS.build(config))
    for classes in (['b', 'a'], ['a', 'c']):
        config = dict(type='mmcosub.ImageFolder', data_root=str(tmp_path))
        dataset = DATASETS.build({**config, 'classes': classes})
        with pytest.raises(ValueError, match='not its folders in the order'):
            check_class_folders(dataset)


def test_places_of_a_classifiers_data(tmp_path, monkeypatch):
    """Those that the config names, and no folder that the run happens to be in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'latest').symlink_to('.')
    leaf = dict(type='CustomDataset', data_root=str(tmp_path))
    for config in (
        dict(type='ConcatDataset', datasets=[dict(type='Theirs')]),
        dict(type='Theirs', data_root=['a', 'b'], ann_file=['a.json', 'b.json']),
        dict(type='Theirs', data_prefix=dict(img_path='x')),
    ):
        check_places(config)
    for config in (leaf, dict(type='RepeatDataset', times=2, dataset=leaf)):
        with pytest.raises(ValueError, match='latest is a link to a folder that it is'):
            check_places(config)
