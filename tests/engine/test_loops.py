"""What a resumed run trains on where its epochs are of other lengths than before."""

from pathlib import Path

import pytest
import torch
from numbers_run import numbers_run

from mmcosub.engine.loops import ResumableEpochLoop, ResumableIterLoop, resumable
from mmcosub.engine.stopping import Stopped

ALL = list(range(16))


def trained(*args: object, **kwargs: object) -> list[list[int]]:
    """What each iteration of a run sees."""
    runner = numbers_run(*args, **kwargs)
    runner.train()
    return runner.model.seen


def pairs(numbers: list[int], batch: int) -> list[list[int]]:
    return [numbers[i : i + batch] for i in range(0, len(numbers), batch)]


def logs(work_dir: Path) -> str:
    return ''.join(path.read_text() for path in work_dir.glob('*/*.log'))


def test_larger_batches(tmp_path: Path) -> None:
    """No epoch is passed over, also when the run is resumed once more."""
    assert trained(tmp_path, batch=2, epochs=3) == pairs(ALL, 2) * 3
    assert trained(tmp_path, batch=4, epochs=5) == pairs(ALL, 4) * 2
    assert 'An epoch was 8 batches, and one is 4 batches now' in logs(tmp_path)
    assert trained(tmp_path, batch=4, epochs=6) == pairs(ALL, 4)


@pytest.mark.parametrize(
    ('before', 'stop', 'after', 'left'),
    [
        (2, 14, 2, ALL[12:]),
        (2, 14, 4, ALL[12:]),
        (4, 6, 2, ALL[8:]),
        (2, 13, 4, ALL[8:]),  # 5 of 8 batches are 2 of 4, rather than 3
    ],
)
def test_stopped_within_an_epoch(
    before: int, stop: int, after: int, left: list[int], tmp_path: Path
) -> None:
    """The rest of it and the next, even when it is stopped in the rest again."""
    with pytest.raises(Stopped):
        trained(tmp_path, batch=before, epochs=2, stop=stop)
    with pytest.raises(Stopped):
        trained(tmp_path, batch=after, epochs=3, stop=1)
    expected = pairs(left, after)[1:] + pairs(ALL, after)
    assert trained(tmp_path, batch=after, epochs=3) == expected


@pytest.mark.parametrize(('batch', 'epochs'), [(4, 3), (2, 3)])
def test_checkpoints_that_do_not_say_when_an_epoch_began(
    batch: int, epochs: int, tmp_path: Path
) -> None:
    trained(tmp_path, batch=2, epochs=2)
    path = tmp_path / 'epoch_2.pth'
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint['message_hub']['runtime_info'][ResumableEpochLoop._BEGUN]
    torch.save(checkpoint, path)
    assert trained(tmp_path, batch=batch, epochs=epochs) == pairs(ALL, batch)
    assert ('are no 2 epochs' in logs(tmp_path)) == (batch == 4)


@pytest.mark.parametrize(
    ('given', 'kind'),
    [
        (dict(by_epoch=True), ResumableEpochLoop),
        (dict(by_epoch=False), ResumableIterLoop),
        (dict(type='EpochBasedTrainLoop'), ResumableEpochLoop),
        (dict(type='mmengine.IterBasedTrainLoop'), ResumableIterLoop),
    ],
)
def test_loops_of_mmengine_are_replaced(given: dict, kind: type) -> None:
    assert resumable({**given, 'val_interval': 3}) == dict(type=kind, val_interval=3)
    with pytest.raises(ValueError, match=r"val_interval must be .*, not 'each 3'"):
        resumable({**given, 'val_interval': 'each 3'})


def test_loops_of_others_are_left_alone() -> None:
    """What their arguments mean is theirs."""
    given = dict(type='theirs.IterBasedTrainLoop', val_interval='each 3')
    assert resumable(given) == given
