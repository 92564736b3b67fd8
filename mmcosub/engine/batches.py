"""Checks that a data loader has batches, and that an epoch of it ends."""

from typing import Any

from mmengine.dataset import InfiniteSampler
from torch.utils.data import DataLoader, IterableDataset


def sampler_of(loader: DataLoader) -> Any:
    """Sampler of a data loader, that of its batch sampler if it has one.

    Args:
        loader (DataLoader): The data loader.
    """
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def is_endless(loader: DataLoader) -> bool:
    """True if one pass over a data loader does not end.

    Args:
        loader (DataLoader): The data loader.
    """
    sampler = sampler_of(loader)
    return isinstance(sampler, InfiniteSampler) or hasattr(sampler, 'skip')


def check_batches(loader: Any, setting: str, epochs: bool = True) -> None:
    """Raise if a loop over a data loader would have no step, or not end.

    Args:
        loader (DataLoader): The data loader. Others, and streams, are not checked.
        setting (str): Name of its setting, such as 'train_dataloader'.
        epochs (bool): Whether the loop goes by epochs, each one pass over the loader.
            Defaults to True.

    Raises:
        ValueError: If it has no batches, or the loop waits for the end of an endless
            sampler.
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
    endless = is_endless(loader)
    if endless and epochs:
        by = (
            ', or train by iterations, train_cfg.type=IterBasedTrainLoop with max_iters'
        )
        loop = 'train_cfg.type=EpochBasedTrainLoop'
        trains = setting == 'train_dataloader'
        raise ValueError(
            f'{setting}.sampler.type={type(sampler_of(loader)).__name__} never ends, '
            f'but {loop if trains else "an evaluation"} waits for its end. Set '
            f'{setting}.sampler.type=DefaultSampler{by if trains else ""}.'
        )
    if not endless and not len(loader):
        raise ValueError(
            f'{setting} has no batches: with drop_last=True its {images} images do not '
            f'fill one of batch_size={loader.batch_size} on each process. Set '
            f'{setting}.drop_last=False or a smaller {setting}.batch_size.'
        )
