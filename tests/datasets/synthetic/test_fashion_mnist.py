import gzip

import numpy as np
import pytest
from datasets.fashion import idx, write_fashion

from mmcosub.datasets.synthetic.fashion_mnist import by_class, read_fashion_mnist


@pytest.fixture
def source(tmp_path):
    return write_fashion(tmp_path / 'source')


def test_split(source):
    parts = read_fashion_mnist(source, validation=2)
    assert {part: len(labels) for part, (_, labels) in parts.items()} == dict(
        training=40, validation=20, test=20
    )
    # The last two of each class, and no other.
    values = {part: by_class(*arrays) for part, arrays in parts.items()}
    for label in range(10):
        of = {part: values[part][label][:, 14, 14].tolist() for part in values}
        assert of == dict(
            training=[20, 22, 24, 26], validation=[28, 30], test=[200, 202]
        )


def test_without_validation_all_are_for_training(source):
    parts = read_fashion_mnist(source)
    assert len(parts['training'][1]) == 60
    assert len(parts['validation'][1]) == 0


def test_too_large_a_validation_split(source):
    with pytest.raises(
        ValueError, match=r'there are 6 in some class. Take from 0 to 5'
    ):
        read_fashion_mnist(source, validation=6)


def test_missing(tmp_path):
    with pytest.raises(ValueError, match=r'train-images.*apt-get install.*--source'):
        read_fashion_mnist(tmp_path)


@pytest.mark.parametrize('part', ['head', 'tail', 'inside'])
def test_damaged(source, part):
    path = source / 't10k-images-idx3-ubyte.gz'
    data = bytearray(path.read_bytes())
    if part == 'head':
        data[0] ^= 255
    elif part == 'inside':
        data[len(data) // 2] ^= 255
    else:
        del data[len(data) // 2 :]
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r't10k-images-idx3-ubyte.gz is damaged'):
        read_fashion_mnist(source)


@pytest.mark.parametrize(
    'data',
    [
        idx(np.zeros((2, 3, 3), np.uint8))[:-1],
        idx(np.zeros(9, np.uint8)),
        b'a text',
    ],
)
def test_another_file(source, data):
    path = source / 'train-images-idx3-ubyte.gz'
    path.write_bytes(gzip.compress(data))
    with pytest.raises(ValueError, match=r'train-images.* is not an IDX file of 3 dim'):
        read_fashion_mnist(source)


def test_files_that_do_not_belong_together(source):
    path = source / 'train-labels-idx1-ubyte.gz'
    path.write_bytes(gzip.compress(idx(np.zeros(7, np.uint8))))
    with pytest.raises(ValueError, match=r'60 images and .* 7 labels'):
        read_fashion_mnist(source)
    path.write_bytes(gzip.compress(idx(np.full(60, 12, np.uint8))))
    with pytest.raises(ValueError, match=r'train-labels.* has the label 12'):
        read_fashion_mnist(source)
