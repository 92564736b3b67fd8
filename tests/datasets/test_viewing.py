"""Images of any kind as pictures."""

import numpy as np
import pytest

from mmcosub.datasets.image_files import viewable


@pytest.mark.parametrize(
    ('values', 'seen'),
    [
        ([[7]], [7, 7, 7]),
        ([[[7]]], [7, 7, 7]),
        ([[[7, 8]]], [7, 8, 0]),
        ([[[7, 8, 9]]], [7, 8, 9]),
        ([[[7, 8, 9, 10, 11]]], [7, 8, 9]),
    ],
)
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_channels(values: list, seen: list[int], dtype: type) -> None:
    picture = viewable(np.array(values, dtype))
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[seen]]


def test_values_outside_are_stretched() -> None:
    assert viewable(np.array([[-1.0, 0.0, 1.0, np.nan]]))[0, :, 0].tolist() == [
        *(0, 127, 255, 127)
    ]
    assert viewable(np.array([[0, 1000]], np.uint16))[0, :, 0].tolist() == [0, 255]
    assert viewable(np.full((1, 1), 1000, np.uint16)).tolist() == [[[0, 0, 0]]]
