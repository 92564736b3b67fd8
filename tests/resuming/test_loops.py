"""What a resumed run trains on where its epochs are of other lengths than before."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from numbers_run import Counting, Numbers, loader, numbers_run, validation
from torch.utils.data import DataLoader, IterableDataset

from mmcosub.resuming.loops import ResumableEpochLoop, ResumableIterLoop, resumable
from mmcosub.resuming.stopping import Stopped

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
    'loop', [dict(by_epoch=True, max_epochs=1), dict(by_epoch=False, max_iters=3)]
)
def test_workers_end_with_the_training(loop: dict, tmp_path: Path) -> None:
    """If they are left to the garbage collector, it waits for seconds."""
    workers = dict(num_workers=1, persistent_workers=True)
    settings: dict = dict(
        train_dataloader=loader(16, 2, **workers), train_cfg=loop, **validation(4, 2)
    )
    run = numbers_run(tmp_path, batch=2, epochs=1, **settings)
    run.train()
    assert len(run.model.seen) > 2
    assert multiprocessing.active_children() == []


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


class Stream(IterableDataset):
    """Numbers, without a way to ask for one of them."""

    def __iter__(self) -> Iterator[dict]:
        return iter([Numbers(5)[i] for i in range(5)])

    def __len__(self) -> int:
        return 5


LOADERS = {
    'in order': dict(),
    'shuffled': dict(sampler=dict(type='DefaultSampler', shuffle=True)),
    'without the last': dict(drop_last=True),
    'endless': dict(sampler=dict(type='InfiniteSampler', shuffle=True)),
    'workers': dict(
        sampler=dict(type='InfiniteSampler', shuffle=True),
        num_workers=1,
        persistent_workers=True,
    ),
}
LOOPS = {
    'epochs': dict(by_epoch=True, max_epochs=3),
    'iterations': dict(by_epoch=False, max_iters=8),
}


@pytest.mark.parametrize(
    ('loop', 'batch', 'data'),
    [
        pytest.param(
            loop, batch, data, marks=pytest.mark.slow if data == 'workers' else ()
        )
        for loop in LOOPS
        for data in (*LOADERS, 'stream')
        for batch in ([2] if data == 'workers' else [1, 2, 5])
        if loop == 'iterations' or data not in ('endless', 'workers')
    ],
)
@pytest.mark.sweep(every=4)
def test_resumed_after_every_iteration(
    loop: str, batch: int, data: str, tmp_path: Path
) -> None:
    """On the last batch of an epoch, within one, with any sampler."""

    def run(work_dir: Path, **settings: object) -> list[list[int]]:
        train = loader(5, batch, **LOADERS.get(data, {}))
        if data == 'stream':
            train = DataLoader(Stream(), batch, collate_fn=pseudo_collate)
        settings |= dict(train_dataloader=train, train_cfg=LOOPS[loop])
        runner = numbers_run(
            work_dir,
            batch,
            epochs=0,
            randomness=dict(seed=0),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)
            ),
            **settings,
        )
        runner.train()
        return runner.model.seen

    whole = run(tmp_path / 'whole')
    assert len(whole) > 2
    for done in range(1, len(whole)):
        saved = str(tmp_path / 'whole' / f'iter_{done}.pth')
        rest = run(tmp_path / 'resumed', resume=True, load_from=saved)
        assert rest == whole[done:], done


class StoppedAfterValidation(Hook):
    def after_val(self, runner: Runner) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize('stop', range(16))
@pytest.mark.parametrize('loop', LOOPS)
@pytest.mark.sweep(every=4)
def test_every_validation_once(loop: str, stop: int, tmp_path: Path) -> None:
    """Wherever the run is stopped: in training, in a validation, or between."""
    before = Counting.validations
    for stopped in (stop, None):
        run = numbers_run(
            tmp_path,
            batch=2,
            epochs=0,
            count=4,
            stop=stopped,
            custom_hooks=[StoppedAfterValidation()] if stopped == 0 else [],
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook', interval=10, by_epoch=loop == 'epochs'
                )
            ),
            train_cfg=LOOPS[loop] | dict(val_interval=1 if loop == 'epochs' else 2),
            **validation(6, 2),
        )
        with suppress(Stopped):
            run.train()
    assert Counting.validations - before == (3 if loop == 'epochs' else 4)


def test_loaders_that_begin_with_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenMMLab's own mmengine has one; no image may be drawn twice or left out."""

    def begin(self: IterBasedTrainLoop, runner: object, loader: object, **_: object):
        self.dataloader, self.begun = loader, iter(loader)
        build(self, runner, loader, **_)

    build = IterBasedTrainLoop.__init__
    monkeypatch.setattr(IterBasedTrainLoop, '__init__', begin)
    for data in ('shuffled', 'endless'):
        test_resumed_after_every_iteration('iterations', 2, data, tmp_path / data)


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (
            dict(train_dataloader=loader(4, 2, sampler=dict(type='InfiniteSampler'))),
            r'train_dataloader.sampler.type=InfiniteSampler never ends.*'
            'EpochBasedTrainLoop.*DefaultSampler, or .*IterBasedTrainLoop',
        ),
        (
            dict(train_dataloader=loader(3, 4, drop_last=True)),
            'train_dataloader has no batches.* 3 images .* batch_size=4',
        ),
        (
            dict(
                train_dataloader=loader(3, 4, drop_last=True),
                train_cfg=LOOPS['iterations'],
            ),
            r'Set train_dataloader.drop_last=False or a smaller',
        ),
        (dict(train_dataloader=loader(0, 4)), r'train_dataloader.dataset has no'),
        (dict(train_cfg=dict(by_epoch=True, max_epochs=0)), 'max_epochs must be .* 0'),
        (dict(train_cfg=dict(by_epoch=False, max_iters=0)), 'max_iters must be .* 0'),
        (validation(0, 2), 'val_dataloader.dataset has no images'),
        (
            validation(2, 4, drop_last=True),
            'val_dataloader has no batches.* 2 images .* batch_size=4',
        ),
        (
            validation(2, 4, sampler=dict(type='InfiniteSampler')),
            'val_dataloader.sampler.type=InfiniteSampler never ends',
        ),
    ],
)
def test_loops_without_a_step_or_an_end(
    settings: dict, said: str, tmp_path: Path
) -> None:
    run = numbers_run(tmp_path, batch=2, epochs=1, **settings)
    with pytest.raises(ValueError, match=said):
        run.train()
    assert not run.model.seen


def test_endless_sampler_of_fewer_images_than_a_batch(tmp_path: Path) -> None:
    """It fills its batches all the same."""
    data = loader(3, 4, drop_last=True, sampler=dict(type='InfiniteSampler'))
    loop = dict(by_epoch=False, max_iters=2)
    seen = trained(tmp_path, 4, 1, train_dataloader=data, train_cfg=loop)
    assert [len(batch) for batch in seen] == [4, 4]


def test_training_after_one_that_did_not_begin(tmp_path: Path) -> None:
    """As in a notebook, where a check fails and the cell is run again."""

    class Failing(Hook):
        def before_train(self, runner: Runner) -> None:
            if not failed:
                failed.append(True)
                raise ValueError('no')

    failed: list[bool] = []
    iterations = dict(by_epoch=False, max_iters=4)
    run = numbers_run(tmp_path, 4, 1, train_cfg=iterations)
    run.register_hook(Failing())
    with pytest.raises(ValueError, match='no'):
        run.train()
    run.train()
    assert run.model.seen == pairs(ALL, 4)
