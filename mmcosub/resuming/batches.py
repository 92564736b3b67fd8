"""Batches of a data loader: endless iteration, skipping, and checks."""

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from mmengine.dataset import InfiniteSampler
from torch.utils.data import DataLoader, IterableDataset

from .seeding import SeededBatches


def endless_batches(loader: DataLoader, done: int = 0) -> Iterator:
    """Yield batches of a loader, restarted as often as needed, after those done.

    MMEngine's counterpart loads skipped batches, unless the sampler is endless, and
    waits for two seconds at the end of each epoch.
    """
    number, first, found = 0, done, True
    if done and not isinstance(loader.batch_sampler, SeededBatches):  # a stream
        yield from islice(endless_batches(loader), done, None)
        return
    if done and not is_endless(loader):
        number, first = divmod(done, len(loader))
    while found:
        sampler, found = sampler_of(loader), False
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(number)
        for batch in without_first(loader, first):
            found = True
            yield batch
        number, first = number + 1, 0


def without_first(loader: DataLoader, count: int) -> Iterable:
    """Skip the first batches of an epoch; only streamed data are loaded."""
    batches = loader.batch_sampler
    if isinstance(batches, SeededBatches):
        batches.skip(count)
        return loader
    return islice(loader, count, None)  # a stream


def end_workers(loop: Any) -> None:
    """End the workers of a loop's data loader, if there are any.

    Where the garbage collector ends them, PyTorch waits five seconds for each.
    """
    batches = getattr(loop, 'dataloader_iterator', None)
    if isinstance(batches, Generator):
        batches.close()
    if isinstance(loader := getattr(loop, 'dataloader', None), DataLoader):
        loader._iterator = None  # of persistent workers


def sampler_of(loader: DataLoader) -> Any:
    """Return the sampler of a data loader or of its batch sampler."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def is_endless(loader: DataLoader) -> bool:
    """Return True if one pass over a data loader does not end."""
    return isinstance(sampler_of(loader), InfiniteSampler)


def check_batches(loader: Any, setting: str, epochs: bool = True) -> None:
    """Raise if a loop over a data loader would have no step, or not end.

    Streams, and loaders of others than PyTorch, are not checked. ``setting`` is the
    loader's, such as 'train_dataloader'. With ``epochs``, the loop counts epochs, each
    one pass over the loader.

    Raises:
        ValueError: If there are no batches, or an epoch would not end.
    """
    if not isinstance(loader, DataLoader) or isinstance(
        loader.dataset, IterableDataset
    ):
        return
    images = len(loader.dataset)  # type: ignore[arg-type]
    if not images:
        raise ValueError(
            f'{setting}.dataset has no images: look at its data_root and data_prefix.'
        )
    trains, endless = setting == 'train_dataloader', is_endless(loader)
    if endless and epochs:
        loop, remedy = 'an evaluation', ''
        if trains:
            loop = 'train_cfg.type=EpochBasedTrainLoop'
            remedy = ', or train_cfg.type=IterBasedTrainLoop with max_iters'
        raise ValueError(
            f'{setting}.sampler.type={type(sampler_of(loader)).__name__} never ends, '
            f'but {loop} waits for its end. Set {setting}.sampler.type=DefaultSampler'
            f'{remedy}.'
        )
    # An evaluation may have fewer images than processes.
    if not endless and not len(loader) and (trains or loader.drop_last):
        raise ValueError(
            f'{setting} has no batches: with drop_last={loader.drop_last} its {images} '
            f'images do not fill one of batch_size={loader.batch_size} on each '
            f'process. Set {setting}.drop_last=False or a smaller {setting}.batch_size.'
        )
