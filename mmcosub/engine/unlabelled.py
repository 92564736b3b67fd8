"""Batches of labelled and unlabelled images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from mmcosub.config.settings import check_arguments
from mmcosub.datasets.guard import BadSamples
from mmcosub.datasets.unlabelled import (
    UnlabelledImages,
    also_labelled,
    weak_and_strong,
)
from mmcosub.schemes import Unlabelled

from .data import configs_of_datasets

LOADING = ('data_root', 'batch_size', 'pipeline', 'strong')
"""Keys of ``unlabelled`` about data; the others are arguments of
:class:`mmcosub.schemes.Unlabelled`."""


def method_options(cfg: Any) -> dict | None:
    """Return the method's part of ``unlabelled``; None without one.

    Raises:
        ValueError: If there is no scheme, or an unknown key.
    """
    options = cfg.get('unlabelled')
    if not options:
        return None
    if not cfg.get('scheme'):
        raise ValueError(
            'Unlabelled images are learned by submodels, and the config has no scheme. '
            'Add --co-train cosub, or leave --unlabelled out.'
        )
    check_arguments('unlabelled', options, Unlabelled, LOADING)
    return {key: value for key, value in options.items() if key not in LOADING}


def unlabelled_dataset(cfg: Any, bad: BadSamples | None = None) -> UnlabelledImages:
    """Build the dataset of ``unlabelled``, augmented like the training images."""
    options = cfg.unlabelled
    strong = options.get('strong')
    if strong is None:
        strong = [dict(type='mmcosub.StrongColours')]
    given = options.get('pipeline')
    training = next(datasets := configs_of_datasets(cfg.train_dataloader.dataset))
    steps = given or training.pipeline
    if not given and 'dataset' in training:  # MultiImageMixDataset
        steps = [*next(datasets).pipeline, *steps]
    pipeline = weak_and_strong(steps, strong, given=bool(given))
    return UnlabelledImages(options.get('data_root'), pipeline, bad)


def add_unlabelled(
    loader: DataLoader, cfg: Any, seed: int, bad: BadSamples
) -> Callable[[int], list[int]]:
    """Add unlabelled images to a training loader's dataset, in place.

    Returns:
        Callable: Indices of those to append to the batch of an iteration.
    """
    dataset, labelled = unlabelled_dataset(cfg, bad), loader.dataset
    batch = cfg.unlabelled.get('batch_size', cfg.train_dataloader.get('batch_size', 1))
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(
            f'unlabelled.batch_size={batch!r} must be a whole number above 0; leave '
            '`unlabelled` out to train without unlabelled images.'
        )
    if is_main_process():  # only it prints; others need not compare all paths
        print_log(
            f'{len(dataset)} unlabelled images, {batch} in each iteration of a '
            f'process; {_shared_images(labelled, dataset)}',
            'current',
        )
    # torch forbids this on a loader in use; this one has not started.
    loader.__dict__['dataset'] = WithUnlabelled(labelled, dataset)
    loader.collate_fn = partial(_collate, loader.collate_fn)
    first: int = len(labelled)  # type: ignore[arg-type]
    world = get_world_size()
    return UnlabelledOrder(len(dataset), batch, seed, get_rank(), world, first)


def _shared_images(labelled: Any, unlabelled: UnlabelledImages) -> str:
    """Describe how many unlabelled images are labelled ones."""
    known: Any = getattr(labelled, 'get_data_info', None)
    if known is None:
        return 'whether some are labelled, too, is not known.'
    paths = (known(i)['img_path'] for i in range(len(labelled)))
    both = also_labelled(unlabelled.files, paths)
    return f'{both} of them are labelled, too.' if both else 'none is labelled.'


class WithUnlabelled(Dataset):
    """Labelled samples, whose number defines epochs, followed by unlabelled ones.

    Hooks that change the training pipeline find only the labelled ones inside.
    """

    def __init__(self, labelled: Any, unlabelled: UnlabelledImages) -> None:
        self.dataset, self.unlabelled = labelled, unlabelled

    @property
    def metainfo(self) -> dict:
        """Metainfo of the labelled samples."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        beyond = index - len(self)
        return self.dataset[index] if beyond < 0 else self.unlabelled[beyond]


@dataclass
class UnlabelledOrder:
    """Order of unlabelled images: a function of the iteration alone.

    Over all processes, every image comes once before any is repeated, independently of
    epochs and of how often the run was resumed. A process takes ``batch`` of ``count``
    images in an iteration, whose indices begin at ``first``.
    """

    count: int
    batch: int
    seed: int
    rank: int
    world: int
    first: int = 0

    def __call__(self, iteration: int) -> list[int]:
        """Return the indices of the images, after a number of iterations."""
        begin = (iteration * self.world + self.rank) * self.batch
        places = [divmod(begin + i, self.count) for i in range(self.batch)]
        return [
            self.first + int(_epoch_order(self.count, self.seed, epoch)[place])
            for epoch, place in places
        ]


@lru_cache(maxsize=2)  # a batch may lie in two epochs
def _epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of all images in one epoch of theirs."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def _collate(collate: Callable[[list], Any], samples: list[dict]) -> dict:
    """Collate labelled samples, and add those with a strong view as ``unlabelled``."""
    others = [sample for sample in samples if 'strong' in sample]
    batch = collate([s for s in samples if 'strong' not in s])
    batch['unlabelled'] = dict(
        weak=[sample['inputs'] for sample in others],
        strong=[sample['strong'] for sample in others],
        data_samples=[sample['data_samples'] for sample in others],
    )
    return batch
