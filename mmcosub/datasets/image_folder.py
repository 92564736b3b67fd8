"""An image folder: one folder per class, as ImageNet is laid out."""

import logging
import os
from collections.abc import Sequence

import numpy as np
from mmengine.dataset import force_full_init
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset
from numpy.typing import NDArray

from mmcosub.registry import DATASETS

from .folder_cache import load_index
from .folder_scan import list_some

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """Images in one folder per class, of any depth, for folders of any size.

    Same samples in the same order as mmpretrain's ``CustomDataset``, but the names of
    the files are kept in an index on disk. The folders are looked through at the first
    start only, and again when anything has changed; all processes share the index, so
    none holds a list of its own. Names that begin with a dot are left out. Local files
    only; for a remote file backend, use ``CustomDataset``.

    Args:
        data_root (str): Folder of the class folders, or the parent of ``data_prefix``.
            Defaults to ''.
        data_prefix (str | dict): Folder of the class folders below ``data_root``, as
            such or as ``dict(img_path=...)``. Defaults to ''.
        pipeline (Sequence): Transforms. Defaults to ().
        classes (str | Sequence[str], optional): Names of the classes, or a file with
            one in a line. The class folders, sorted by name, get them in this order.
            Defaults to None, for the names of the folders.
        metainfo (dict, optional): Meta information; ``classes`` may be in it. Defaults
            to None.
        extensions (Sequence[str]): Endings of images, in any case. Defaults to .jpg,
            .jpeg, .png, .ppm, .bmp, .pgm and .tif.
        indices (int | Sequence[int], optional): The samples to take; a number takes
            the first ones, or the last if it is negative. Defaults to None, for all.
        index_file (str, optional): File of the index. Defaults to None, for a hidden
            file in the folder or, if that cannot be written, in the user's cache.
        test_mode (bool): Whether a sample that the pipeline refuses is an error, and
            not replaced by another. Defaults to False.
        lazy_init (bool): Whether to leave the index for later. Defaults to False.
        max_refetch (int): How many other samples to try, 0 or more. Defaults to 1000.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If an argument is no good, there are no class folders or no images,
            or the classes disagree with the folders.
    """

    _fully_initialized: bool = False

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str | dict = '',
        pipeline: Sequence = (),
        classes: str | Sequence[str] | None = None,
        metainfo: dict | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        indices: int | Sequence[int] | None = None,
        index_file: str | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
    ) -> None:
        if isinstance(extensions, str):
            raise ValueError(f'extensions must be a list, such as [{extensions!r}].')
        if isinstance(data_prefix, dict) and 'img_path' not in data_prefix:
            raise ValueError('data_prefix must be a folder or dict(img_path=folder).')
        if not (data_root or data_prefix):
            raise ValueError('Set data_root or data_prefix to the image folder.')
        self.extensions = sorted({ending.lower() for ending in extensions})
        self.index_file = index_file
        self._chosen: NDArray[np.int64] | None = None
        super().__init__(
            ann_file='',
            metainfo=metainfo,
            data_root=data_root,
            data_prefix=data_prefix,
            indices=indices,
            pipeline=pipeline,
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
            classes=classes,
        )
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Open the index, made anew if it has to be. Does nothing the second time."""
        if self._fully_initialized:
            return
        self.index = load_index(self.img_prefix, self.extensions, self.index_file)
        folders = self.index.record['classes']
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(folders)
        else:
            _check_classes(self.img_prefix, folders, self.CLASSES)
        if empty := self.index.record['empty']:
            print_log(
                f'{self.img_prefix} has {len(empty)} class folders with no image: '
                f'{list_some(empty)}. Extensions are {", ".join(self.extensions)}.',
                'current',
                logging.WARNING,
            )
        self._fully_initialized = True
        if self._indices is not None:
            self.get_subset_(self._indices)

    @force_full_init
    def __len__(self) -> int:
        return len(self.index if self._chosen is None else self._chosen)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """What is known of a sample.

        Args:
            idx (int): Number of the sample; the last is also -1.

        Returns:
            dict: ``img_path``, ``gt_label`` and ``sample_idx``.
        """
        idx = range(len(self))[idx]
        i = idx if self._chosen is None else int(self._chosen[idx])
        return dict(
            img_path=os.path.join(self.img_prefix, self.index.name(i)),
            gt_label=int(self.index.labels[i]),
            sample_idx=idx,
        )

    @force_full_init
    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels of all samples."""
        chosen = slice(None) if self._chosen is None else self._chosen
        return self.index.labels[chosen].astype(np.int64)

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep a part of the samples.

        Args:
            indices (int | Sequence[int]): The samples, or how many of the first, or of
                the last if negative.
        """
        chosen = np.arange(len(self)) if self._chosen is None else self._chosen
        if not isinstance(indices, int):
            self._chosen = chosen[np.asarray(indices, np.int64)]
        else:
            self._chosen = chosen[:indices] if indices >= 0 else chosen[indices:]

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> 'ImageFolder':
        """A dataset of a part of the samples.

        Args:
            indices (int | Sequence[int]): As for :meth:`get_subset_`.
        """
        subset = self._copy_without_annotation()
        subset.get_subset_(indices)
        return subset

    def extra_repr(self) -> list[str]:
        """Further lines of the dataset's description."""
        return [f'Image folder: \t{self.img_prefix}']


def _check_classes(folder: str, folders: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse names that are not as many as the folders or belong to other ones."""
    there, named = {*folders}, {*classes}
    without = [name for name in classes if name not in there]
    if len(classes) == len(folders) and len(without) == len(classes):
        return  # names of another kind, such as 'goldfish' for n01443537
    if len(classes) != len(folders) or without:
        unnamed = [name for name in folders if name not in named]
        raise ValueError(
            f'{folder} has {len(folders)} class folders, and classes {len(classes)} '
            f'names. Names with no folder: {list_some(without) or "none"}; folders '
            f'with no name: {list_some(unnamed) or "none"}. Mend either, or leave '
            "classes out to take the folders' names."
        )
    if list(classes) != list(folders):
        raise ValueError(
            f'classes are the folders of {folder} in another order, but labels go by '
            'the sorted names. Sort them, or leave classes out.'
        )
