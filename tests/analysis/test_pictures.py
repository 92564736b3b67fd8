import cv2
import numpy as np
import pytest

from mmcosub.analysis.pictures import (
    check_picture_name,
    write_picture,
)

GREY = np.full((2, 3, 3), 128, np.uint8)


def test_written_or_refused(tmp_path):
    write_picture(tmp_path / 'new' / 'a.png', GREY)
    assert (cv2.imread(str(tmp_path / 'new' / 'a.png')) == GREY).all()
    (tmp_path / 'b.png').mkdir()
    with pytest.raises(OSError, match=r'b.png cannot be written'):
        write_picture(tmp_path / 'b.png', GREY)
    for name in ('c', 'c.pth'):
        with pytest.raises(ValueError, match=r'does not end like .* as .png'):
            check_picture_name(tmp_path / name)
