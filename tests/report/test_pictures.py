"""Pictures that lie inside the page, and confusion matrices as it shows them."""

import base64

import cv2
import numpy as np
import pytest

from mmcosub.report.classes import show_confusion
from mmcosub.report.gallery import classes_uri, image_uri, share_uri


def decoded(uri: str, kind: str = 'png') -> np.ndarray:
    """The picture in a data URI, in OpenCV's order of colours."""
    head, _, text = uri.partition(',')
    assert head == f'data:image/{kind};base64'
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def test_classes_have_their_colours() -> None:
    palette = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    picture = decoded(classes_uri(np.array([[0, 1, 255, -1]]), palette))
    gray = [127, 127, 127]
    assert picture[0].tolist() == [[30, 20, 10], [60, 50, 40], gray, gray]


def test_a_share_is_seen_through() -> None:
    picture = decoded(share_uri(np.array([[0.0, 0.2, 1.0]])))
    assert picture[0, :, 3].tolist() == [0, 51, 255]


def test_large_ones_are_made_smaller() -> None:
    """Maps without mixing classes."""
    palette = np.array([[0, 0, 0], [255, 255, 255]], dtype=np.uint8)
    classes = np.arange(512 * 1024).reshape(512, 1024) % 2
    picture = decoded(classes_uri(classes, palette))
    assert picture.shape == (128, 256, 3)
    assert {*picture.flat} <= {0, 255}
    image = np.full((300, 1000, 3), (200, 100, 50), dtype=np.uint8)
    smaller = decoded(image_uri(image), 'jpeg')
    assert smaller.shape == (77, 256, 3)
    assert smaller.mean((0, 1)) == pytest.approx([50, 100, 200], abs=3)


def test_small_images_keep_every_pixel() -> None:
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(decoded(image_uri(image)), image[..., ::-1])


def test_confusion_of_few_classes_is_a_table() -> None:
    found = show_confusion(np.array([[8, 2, 0], [0, 4, 0], [0, 0, 0]]), 'abc')
    assert found['shares'].tolist() == [[0.8, 0.2, 0], [0, 1, 0], [0, 0, 0]]
    assert found['mistakes'] == [('a', 'b', 20)]


def test_confusion_of_many_classes_is_a_picture_and_a_list() -> None:
    matrix = np.diag(np.full(30, 90))
    matrix[3, 4], matrix[5, 6] = 10, 30
    found = show_confusion(matrix, [f'class {i}' for i in range(30)])
    shown = decoded(share_uri(found['shares']))[..., 3] / 255
    assert shown.shape == (30, 30)
    assert shown[[3, 5, 0], [4, 6, 1]] == pytest.approx([0.1, 0.25, 0], abs=0.01)
    assert found['mistakes'] == [('class 5', 'class 6', 25), ('class 3', 'class 4', 10)]
