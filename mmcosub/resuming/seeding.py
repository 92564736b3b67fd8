"""Random seeds per iteration and sample, for exact resuming.

No random state is saved. An iteration's random numbers depend on the seed, the rank,
the iteration and, for data, the place in the batch. They do not depend on the number of
workers, prefetching or how often the run was resumed.
"""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader, IterableDataset

from .stopping import SIGNALS

Indices = Callable[[int], Sequence[int]]


def seed_by(*counters: int) -> int:
    """Seed Python, NumPy and torch (CPU) from counters of 0 or more.

    Returns a seed for further generators.
    """
    words = np.random.SeedSequence(counters).generate_state(8)
    random.seed(words[:2].tobytes())
    np.random.seed(words[2:4])
    torch.default_generator.manual_seed(int(words[4:6].view(np.uint64)[0]))
    return int(words[6:].view(np.uint64)[0])


class IterationSeedHook(Hook):
    """Hook that seeds every iteration by its number, for exact resuming.

    Dropout, upstream DropPath and mixing of images draw from this seed. Data are seeded
    on loading; plans have their own generator.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        device_seed = seed_by(runner.seed, get_rank(), runner.iter, 0)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(device_seed)


class SeededIndex(int):
    """Sample index with the iteration it is for and its place in the batch."""

    iteration: int
    place: int

    def __new__(cls, index: int, iteration: int, place: int) -> 'SeededIndex':
        seeded = super().__new__(cls, index)
        seeded.iteration, seeded.place = iteration, place
        return seeded

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), self.iteration, self.place)


class SeededBatches:
    """Batch sampler of seeded indices that can skip without loading.

    Indices that are not integers pass unchanged. ``done`` returns the number of
    iterations done, ``also`` further indices for the batch of an iteration.
    """

    def __init__(
        self, batches: Any, done: Callable[[], int], also: Indices | None = None
    ) -> None:
        self.batches = batches
        self.done = done
        self.also = also
        self._skipped = 0

    def skip(self, batches: int) -> None:
        """Skip so many batches at the beginning of the next epoch."""
        self._skipped = batches

    def __iter__(self) -> Iterator[list]:
        first, skipped, self._skipped = self.done(), self._skipped, 0
        for now, batch in enumerate(self.batches, first - skipped):
            if now >= first:
                yield [
                    SeededIndex(int(index), now, place)
                    if isinstance(index, int | np.integer)
                    else index
                    for place, index in enumerate(
                        [*batch, *self.also(now)] if self.also else batch
                    )
                ]

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        if name == 'batches':  # a copy has no attributes yet
            raise AttributeError(name)
        return getattr(self.batches, name)


def fetch_seeded(dataset: Any, seed: int, rank: int, indices: Sequence) -> list:
    """Return samples of a dataset, each loaded with a random seed of its own."""
    samples: list = []
    load_batch = getattr(type(dataset), '__getitems__', None)  # as Subset has
    for index in indices:
        if isinstance(index, SeededIndex):
            seed_by(seed, rank, index.iteration, index.place + 1)
            index = int(index)
        samples += load_batch(dataset, [index]) if load_batch else [dataset[index]]
    return samples


def start_worker(then: Callable[[int], None] | None, worker: int) -> None:
    """Initialise a data loading worker that leaves signals to the parent process.

    Ctrl-C and Slurm's signals also reach workers, but a run needs them to finish its
    iteration. So only the parent process can end them. ``then`` initialises further.
    """
    for number in {*SIGNALS} - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # macOS and Windows do not tell who sent it
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        told = threading.Thread(target=_end_when_told, args=[os.getppid()], daemon=True)
        told.start()
    if then is not None:
        then(worker)


def _end_when_told(by: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != by:
        pass
    os._exit(0)


def seed_batches(
    loader: DataLoader, seed: int, done: Callable[[], int], also: Indices | None = None
) -> None:
    """Make a training loader draw :class:`SeededBatches`, in place.

    Streams and loaders without batches are not changed.
    """
    loader.worker_init_fn = partial(start_worker, loader.worker_init_fn)
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return
    # torch forbids this on a loader in use; this one has not started.
    loader.__dict__['batch_sampler'] = SeededBatches(loader.batch_sampler, done, also)
    fetch = partial(fetch_seeded, loader.dataset, seed, get_rank())
    loader.dataset.__getitems__ = fetch  # type: ignore[attr-defined]
