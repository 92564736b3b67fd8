import cv2
import numpy as np
import pytest
from PIL import Image

from mmcosub.datasets.image_files import opened
from mmcosub.datasets.labels import check_depth


@pytest.fixture
def picture(tmp_path, monkeypatch):
    """A picture of 16 bits, of more than twice as many pixels as Pillow allows."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 20)
    path = str(tmp_path / 'large.png')
    assert cv2.imwrite(path, np.full((8, 8), 300, np.uint16))
    return path


def test_any_size(picture):
    with pytest.raises(Image.DecompressionBombError):
        Image.open(picture)
    with opened(picture) as image:
        assert image.size == (8, 8)
    assert Image.MAX_IMAGE_PIXELS == 20
    with pytest.raises(FileNotFoundError), opened('nowhere.png'):
        pass
    assert Image.MAX_IMAGE_PIXELS == 20


def test_threads_do_not_take_the_limit_of_another(picture):
    first, second = opened(picture), opened(picture)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert Image.MAX_IMAGE_PIXELS == 20


def test_large_labels_are_looked_at(picture):
    with pytest.raises(ValueError, match=r'large.png has the values \[300\]'):
        check_depth(picture)
