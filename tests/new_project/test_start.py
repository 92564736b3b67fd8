"""`mmcosub init`: what it finds, converts, writes and refuses."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import load_tool
from mmengine.config import Config
from PIL import Image

from mmcosub.config.loading import read_config
from mmcosub.new_project import MODELS
from mmcosub.new_project.pairs import split
from mmcosub.new_project.start import start

COLOURS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 255]], dtype=np.uint8)
PIXELS = np.resize([0, 1, 2], (36, 40))


class Folder:
    """Images and masks of a user.

    Args:
        root (Path): Where.
    """

    def __init__(self, root: Path) -> None:
        self.images, self.masks, self.out = (root / n for n in ('i', 'm', 'out'))
        self.images.mkdir()
        self.masks.mkdir()

    def image(
        self, name: str, size: tuple[int, int] = (40, 36), **save: object
    ) -> None:
        (self.images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', size, (9, 8, 7)).save(self.images / name, **save)

    def mask(self, name: str, mask: np.ndarray) -> None:
        (self.masks / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(self.masks / name)

    def index(self, values: tuple = (0, 1, 2), size: tuple = (36, 40)) -> np.ndarray:
        return np.resize(np.array(values), size).astype(np.uint8)

    def fill(self, mask: np.ndarray | None = None, count: int = 5) -> None:
        for i in range(count):
            self.image(f'{i}.jpg')
            self.mask(f'{i}.png', self.index() if mask is None else mask)

    def start(self, classes: str | None = None, **options: object) -> str:
        options = {'model': 'segformer-b0', **options}
        said = start(self.images, self.masks, self.out, classes, **options)
        return '\n'.join(said)

    def config(self, name: str = 'segformer-b0') -> Config:
        return read_config(self.out / f'{name}.py')

    def loaded(self) -> np.ndarray:
        """The first label map as mmseg loads it."""
        from mmseg.datasets import BaseSegDataset
        from mmseg.utils import register_all_modules

        register_all_modules()
        config = dict(self.config().train_dataloader.dataset)
        for key in ('type', '_scope_'):
            config.pop(key)
        loads = [s for s in config['pipeline'] if s.type.startswith('Load')]
        config['pipeline'] = loads
        dataset = BaseSegDataset(**config)
        assert all(Path(info['img_path']).is_file() for info in dataset)
        return dataset[0]['gt_seg_map']


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_index_masks_stay_where_they_are(folder: Folder) -> None:
    folder.fill()
    said = folder.start('a,b,c')
    assert '5 images: .jpg, 40x36 pixels, RGB of 8 bits' in said
    assert '5 masks: .png, 3 values\n' in said
    assert {path.name for path in folder.out.iterdir()} == {
        'segformer-b0.py',
        'train.txt',
        'val.txt',
    }
    np.testing.assert_array_equal(folder.loaded(), folder.index())
    cfg = folder.config()
    assert cfg.train_dataloader.dataset.metainfo.classes == ('a', 'b', 'c')
    assert cfg.model.decode_head.num_classes == 3
    assert cfg.crop == (32, 32)
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters == 20000
    listed = [(folder.out / f'{n}.txt').read_text().split() for n in ('train', 'val')]
    assert sorted([*listed[0], *listed[1]]) == ['0', '1', '2', '3', '4']
    assert [len(each) for each in listed] == [4, 1]


@pytest.mark.parametrize(
    ('mask', 'classes', 'expected'),
    [
        (COLOURS[PIXELS], 'a=#000000,b=#804080,c=#0000ff', 0),
        (COLOURS[np.resize([0, 2, 1], (36, 40))], 'a,b,c', 0),  # by their order
        (COLOURS[PIXELS], 'ignore=#000000,b=#804080,c=#0000ff', 1),
        (np.resize([0, 128, 255], (36, 40)).astype(np.uint8), 'a,b,c', 0),
        (np.resize([1, 2, 3], (36, 40)).astype(np.uint8), 'a,b,c', 0),
        (np.resize([0, 1, 2], (36, 40)).astype(np.uint8), 'ignore,b,c', 1),
        (np.resize([0, 300, 4000], (36, 40)).astype(np.uint16), None, 0),
        (PIXELS[..., None].repeat(3, 2).astype(np.uint8), None, 0),
    ],
)  # fmt: skip
@pytest.mark.sweep(every=4)
def test_masks_are_converted(
    folder: Folder, mask: np.ndarray, classes: str | None, expected: int
) -> None:
    folder.fill(mask)
    before = {p: p.read_bytes() for p in folder.masks.iterdir()}
    assert 'written as index masks' in folder.start(classes)
    numbers = (0, 1, 2) if expected == 0 else (255, 0, 1)
    np.testing.assert_array_equal(folder.loaded(), folder.index(numbers))
    assert before == {p: p.read_bytes() for p in folder.masks.iterdir()}


@pytest.mark.parametrize(
    ('values', 'classes', 'seen'),
    [
        ((0, 255), None, (0, 1)),
        ((0, 255), 'a,b', (0, 1)),
        ((0, 1, 255), None, (0, 1, 255)),
        ((0, 1, 255), 'a,b,c', (0, 1, 255)),
        ((1, 2, 255), 'a,b', (0, 1, 255)),
        ((1, 255), 'a=1,b=255', (0, 1)),
    ],
)
def test_255(folder: Folder, values: tuple, classes: str | None, seen: tuple) -> None:
    folder.fill(folder.index(values))
    folder.start(classes)
    np.testing.assert_array_equal(folder.loaded(), folder.index(seen))


def test_mixed_suffixes_subfolders_and_tails(folder: Folder) -> None:
    for name in ('a/1.jpg', 'a/2.PNG', 'b/1.jpeg'):
        folder.image(name)
        folder.mask(f'{name.rpartition(".")[0]}_mask.png', folder.index())
    folder.start()
    np.testing.assert_array_equal(folder.loaded(), folder.index())


def test_tails_without_conversion(folder: Folder) -> None:
    for i in range(11):
        folder.image(f'{i}.jpg')
        folder.mask(f'{i}_mask.png', folder.index())
    folder.start()
    assert not (folder.out / 'index_masks').exists()
    np.testing.assert_array_equal(folder.loaded(), folder.index())


@pytest.mark.parametrize('suffixes', [('.png',), ('.png', '.jpg')])
def test_endings_of_images_and_one_of_several_masks(
    folder: Folder, suffixes: tuple
) -> None:
    for i in range(4):
        folder.image(f'a/{i}_leftImg8bit{suffixes[i % len(suffixes)]}')
        folder.mask(f'a/{i}_gtFine_labelIds.png', folder.index())
        folder.mask(f'a/{i}_gtFine_instanceIds.png', folder.index((0, 0, 1)))
    with pytest.raises(
        ValueError, match=r'have no mask: .* several masks: --mask-ending'
    ):
        folder.start()
    with pytest.raises(ValueError, match=r'images have no mask: .*_labelIds.png'):
        folder.start(ending='_labelIds')
    folder.start(ending='_gtFine_labelIds')
    np.testing.assert_array_equal(folder.loaded(), folder.index())


@pytest.mark.parametrize(
    ('values', 'classes', 'seen'),
    [
        ((0, 7, 9), 'a=7,b=rest', (1, 0, 1)),
        ((0, 7, 9), 'a=7,b=0,ignore=rest', (1, 0, 255)),
        ((0, 7, 255), 'a=7,b=rest', (1, 0, 255)),  # 255 stays without label
        ((0, 255), 'a=0,b=rest', (0, 1)),
        ((0, 7, 9), 'a=7,a=9,b=0', (1, 0, 0)),
    ],
)
def test_several_values_of_one_class(
    folder: Folder, values: tuple, classes: str, seen: tuple
) -> None:
    folder.fill(folder.index(values))
    assert '2 classes:' in folder.start(classes)
    np.testing.assert_array_equal(folder.loaded(), folder.index(seen))


def test_blurred_edges(folder: Folder) -> None:
    mask = np.zeros((36, 40), np.uint8)
    mask[:, 20:] = 200
    mask[0, 10:30] = np.arange(20) * 9 + 7
    folder.fill(mask)
    said = folder.start()
    assert 'Only 2 of them have more than 0.5% of the pixels' in said
    assert 'NAME=VALUE,...,ignore=rest' in said


def test_images_are_not_their_own_masks(folder: Folder) -> None:
    folder.image('0.png')
    folder.masks = folder.images / '..' / folder.images.name
    with pytest.raises(ValueError, match=r'its own mask\. Put the masks into'):
        folder.start()


def test_folders_of_a_split(folder: Folder) -> None:
    parts = ('train2020', 'train2020', 'Validation', 'train2020', 'test', 'test')
    for i, part in enumerate(parts):
        folder.image(f'{part}/{i}.png')
        values = (0, 1) if part != 'Validation' else (0, 2)
        folder.mask(f'{part}/{i}.png', folder.index(values))
    said = folder.start()
    assert 'Split: 3 to train on, 1 to validate, 2 in folders for testing' in said
    assert '2 class_2 = 2: 8.3% of pixels (not in the training images' in said
    assert (folder.out / 'train.txt').read_text().split() == [
        f'train2020/{i}' for i in (0, 1, 3)
    ]
    names = ['train/1', 'train/2', 'train/3', 'test/1', 'test/2']
    train, val = split(names, None)
    assert {*train, *val} == {'train/1', 'train/2', 'train/3'}
    train, val = split(names, 0.4)  # asked for
    assert {*train, *val} == {*names}
    assert len(val) == 2
    assert len(split(['trains/1', 'val/1'], None)[0]) == 1
    for part in ('val', 'test'):  # which would be trained on
        mixed = ['train/1', 'train/2', f'{part}/1', 'more/1', '2']
        with pytest.raises(ValueError, match=r'2 of 5 images, such as more/1.*--val'):
            split(mixed, None)
        assert len(split(mixed, 0.2)[1]) == 1


@pytest.mark.parametrize('stored', [True, False])
def test_exif_orientation(folder: Folder, stored: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    size = (36, 40) if stored else (40, 36)
    for i in range(3):
        folder.image(f'{i}.jpg', exif=exif)
        folder.mask(f'{i}.png', folder.index(size=size))
    said = folder.start()
    assert f'loaded as {"stored" if stored else "displayed"}' in said
    load = folder.config().train_pipeline[0]
    assert load.get('color_type') == ('color_ignore_orientation' if stored else None)


RAW = {
    'deep.png': (lambda rgb: rgb * 16, 3),
    'deep_grey.png': (lambda rgb: rgb[..., 0] * 9, 1),
    'four.tif': (lambda rgb: rgb[..., [0, 1, 2, 0]].astype(np.uint8), 4),
    'four_deep.tif': (lambda rgb: rgb[..., [0, 1, 2, 0]] * 16, 4),
    'float.tif': (lambda rgb: rgb[..., 0].astype(np.float32) / 255, 1),
    'floats.tif': (lambda rgb: rgb.astype(np.float32) / 255, 3),
    'six.tif': (lambda rgb: np.concatenate([rgb, rgb * 16], axis=2), 6),
}


@pytest.mark.parametrize('name', RAW)
@pytest.mark.sweep(every=3)
def test_all_bits_and_channels(folder: Folder, name: str) -> None:
    """Images of the network's input have mean 0 and deviation 1 in each channel."""
    from mmengine.dataset import Compose, pseudo_collate
    from mmseg.registry import MODELS as REGISTRY

    make, channels = RAW[name]
    if channels > 4:
        tifffile = pytest.importorskip('tifffile')
    files = []
    for i in range(4):
        rgb = np.random.default_rng(i).integers(0, 200, (36, 40, 3))
        rgb[0, 0] = 200, 100, 40  # in OpenCV's order: blue
        image = make(rgb.astype(np.uint16))
        files.append(folder.images / f'{i}_{name}')
        if channels > 4:
            how = dict(photometric='minisblack', planarconfig='contig')
            tifffile.imwrite(files[-1], image, **how)
        else:
            cv2.imwrite(str(files[-1]), image)
        folder.mask(f'{i}_{Path(name).stem}.png', folder.index())
    assert f'all their bits and channels ({channels})' in folder.start()
    folder.loaded()  # registers mmseg's modules
    cfg = folder.config()
    assert cfg.model.backbone.in_channels == channels
    load = Compose([s for s in cfg.test_pipeline if s.type != 'LoadAnnotations'][:-2])
    assert 'PhotoMetricDistortion' not in str(cfg.train_pipeline)
    pack = Compose([dict(type='PackSegInputs')])
    batch = [pack(load(dict(img_path=str(f), seg_fields=[]))) for f in files]
    preprocess = REGISTRY.build({**cfg.model.data_preprocessor, 'test_cfg': None})
    found = preprocess(pseudo_collate(batch))['inputs'].double()
    assert found.shape == (4, channels, 36, 40)
    np.testing.assert_allclose(found.mean((0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(found.std((0, 2, 3), correction=0), 1, atol=1e-3)
    if channels == 3:  # in the order of colours that weights expect
        assert found[0, 0, 0, 0] < 0 < found[0, 2, 0, 0]


def test_images_of_several_kinds(folder: Folder) -> None:
    folder.fill()
    cv2.imwrite(str(folder.images / '9.png'), np.full((36, 40, 3), 999, np.uint16))
    folder.mask('9.png', folder.index())
    with pytest.raises(ValueError, match=r'9\.png is RGB of 16 bits.* Convert them'):
        folder.start()
    assert not folder.out.exists()


def test_the_split_is_the_same_everywhere() -> None:
    names = [f'{i}' for i in range(10)]
    train, val = split(names, 0.2)
    assert val == split(names[::-1], 0.2)[1]
    assert sorted([*train, *val]) == names
    assert set(split([*names, 'new'], 0.2)[1]) & set(val)


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.sweep(every=6)
def test_every_model(folder: Folder, name: str) -> None:
    """Its config can be read, with the classes in every head and weights to load."""
    folder.fill()
    said = folder.start(model=name)
    cfg = folder.config(name)
    heads = [cfg.model.decode_head, cfg.model.get('auxiliary_head')]
    assert [head.num_classes for head in heads if head] == [3] * sum(map(bool, heads))
    init = (cfg.model.backbone.get('init_cfg') or {}).get('checkpoint')
    weights = init or cfg.model.pretrained
    assert '://' in weights
    assert f'downloads {weights}\n' in said
    assert len((folder.out / f'{name}.py').read_text().splitlines()) < 72


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.sweep(every=6)
def test_no_pretrained(folder: Folder, name: str) -> None:
    folder.fill()
    folder.start(model=name, pretrained=False)
    model = folder.config(name).model
    assert model.get('pretrained') is None
    assert model.backbone.init_cfg is None


BAD = {
    'no folder': (
        lambda f: (f.image('1.jpg'), f.masks.rmdir()),
        {},
        r'There is no folder .*/m',
    ),
    'no image': (lambda f: None, {}, r'/i has no pictures'),
    'without mask': (
        lambda f: (f.fill(), f.image('x.jpg')),
        {},
        r'1 of 6 images have no mask: .*x\.jpg needs .*x\.png\. Add .*--unlabelled',
    ),
    'equal stems': (
        lambda f: (f.fill(), f.image('1.png')),
        {},
        r'/i has 1\.jpg and 1\.png: .* Rename one',
    ),
    'other size': (
        lambda f: (f.fill(), f.mask('1.png', f.index(size=(30, 40)))),
        {},
        r'1 of 5 masks .*m/1\.png has 40x30 pixels, .* Save the masks anew',
    ),
    'broken': (
        lambda f: (f.fill(), (f.masks / '1.png').write_text('x')),
        {},
        r'm/1\.png cannot be read',
    ),
    'values and names': (
        lambda f: f.fill(f.index((0, 50, 100))),
        dict(classes='a,b'),
        r'have 3 values \(0, 50, 100\), but --classes has 2 names\. .* NAME=0',
    ),
    'one name': (
        lambda f: f.fill(f.index((0, 255))),
        dict(classes='crack'),
        r'have 2 values \(0, 255\), but --classes has 1 names',
    ),
    'one class': (lambda f: f.fill(f.index((0, 0))), {}, r'Background is a class'),
    'not named': (
        lambda f: f.fill(),
        dict(classes='a=0,b=1'),
        r'also have 2, .* Add NAME=2, or ignore=2',
    ),
    'spaces': (
        lambda f: (f.fill(), f.image(' x.jpg')),
        {},
        r"i/ x\.jpg': lists of images take no names with spaces at an end",
    ),
    'value twice': (lambda f: f.fill(), dict(classes='a=1,b=1'), r'names 1 twice'),
    'no value': (lambda f: f.fill(), dict(classes='a=red'), r"'a=red' is no NAME"),
    'twice': (lambda f: f.fill(), dict(classes='a,b,a'), r'names a twice'),
    'half': (lambda f: f.fill(), dict(classes='a=0,b'), r'every class, or for none'),
    'fraction': (lambda f: f.fill(), dict(val=1.0), r'--val 1\.0 must be between'),
    'one image': (lambda f: f.fill(count=1), {}, r'1 image is too few'),
    'a photograph': (
        lambda f: f.fill(np.arange(36 * 40 * 3).reshape(36, 40, 3).astype(np.uint8)),
        {},
        r'more than 255 colours in 1 masks\. Are these masks',
    ),
    'JPEG': (
        lambda f: [f.image('1.png'), f.image('2.png')]
        + [f.mask(n, f.index((0, 100, 200))) for n in ('1.jpg', '2.jpg')],
        dict(classes='a,b,c'),
        r'm/1\.jpg: JPEG changes values of pixels, .* PNG',
    ),
    'float': (
        lambda f: [f.image('1.jpg'), f.image('2.jpg')]
        + [Image.fromarray(np.full((36, 40), 0.5, np.float32)).save(f.masks / n)
           for n in ('1.tif', '2.tif')],
        {},
        r'no whole numbers',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', BAD)
def test_bad_input(folder: Folder, case: str) -> None:
    make, options, said = BAD[case]
    make(folder)
    with pytest.raises(ValueError, match=said) as error:
        folder.start(**options)
    assert '\n' not in str(error.value)
    assert not folder.out.exists()  # nothing half-written


def test_thirty_colours_for_three_names(folder: Folder) -> None:
    colours = np.stack([np.arange(30), np.arange(30) * 3, np.arange(30)], 1)
    folder.fill(colours[np.resize(np.arange(30), (36, 40))].astype(np.uint8))
    with pytest.raises(ValueError, match=r'30 colours \(#000000, #010301.*has 3 names'):
        folder.start('a,b,c')


def test_nothing_is_overwritten(folder: Folder) -> None:
    folder.fill()
    folder.start()
    with pytest.raises(ValueError, match=r'is there already: give another --out'):
        folder.start()
    folder.out = folder.masks / 'x'
    with pytest.raises(ValueError, match=r'is in .*/m: give a folder beside it'):
        folder.start()


@pytest.mark.parametrize('named', [['a,b,c'], ['a', 'b', 'c'], ['a,b', 'c']])
def test_classes_on_the_command_line(folder: Folder, named: list[str]) -> None:
    folder.fill()
    paths = [str(folder.images), str(folder.masks), '--out', str(folder.out)]
    argv = [*paths, '--no-pretrained', '--model', 'segformer-b0', '--classes', *named]
    load_tool('init').main(argv)
    assert folder.config().classes == ('a', 'b', 'c')
    with pytest.raises(SystemExit):
        load_tool('init').main([*argv, '--colors', 'x'])
