from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmcosub.analysis.pictures import (
    DisagreementPictures,
    check_picture_name,
    write_picture,
)
from mmcosub.analysis.predictions import Ensemble

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


def test_images_of_one_name_have_each_a_picture(tmp_path):
    draw = DisagreementPictures(tmp_path, [[0, 0, 0], [200, 0, 0]])
    ensemble = Ensemble()
    for one in ([0.9, 0.1], [0.2, 0.8]):
        ensemble.add(torch.tensor(one)[:, None, None].expand(2, 4, 4))
    for path in ('/x/p/0.jpg', '/x/q/0.jpg', '/y/q/0.jpg', '/x/q/0.jpg', '/x/p/1.jpg'):
        draw(SimpleNamespace(img_path=path), ensemble)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['0.png', '1.png', 'q_0.png', 'y_q_0.png']
