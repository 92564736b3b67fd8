import cv2
import numpy as np
import pytest

from mmcosub.engine.errors import explained_errors


def test_opencv_fault_before_anything_has_run(capsys):
    empty = np.zeros((0, 0, 3), np.uint8)
    with pytest.raises(SystemExit) as exit_, explained_errors('tool'):
        cv2.resize(empty, (4, 4))
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('tool: error: error: OpenCV')
    assert line.endswith('(--debug shows where)')
    with pytest.raises(cv2.error), explained_errors('tool', debug=True):
        cv2.resize(empty, (4, 4))
