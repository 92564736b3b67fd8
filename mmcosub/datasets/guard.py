"""Errors of a dataset's pipeline that name the file."""

from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.datasets import BaseSegDataset

from .bad_samples import BadSampleError, BadSamples, files_of
from .label_maps import (
    check_channels,
    check_depth,
    check_size,
    is_stock,
    label_values_out_of_range,
)

# Errors that are bugs of a transform, whatever the file.
_OF_PROGRAMS = (TypeError, AttributeError, NameError, ImportError, LookupError)


class GuardedPipeline:
    """Pipeline whose errors name the sample's files.

    It also raises for a label map with another size than its image, values of more than
    8 bits, or values without a class.

    Args:
        pipeline (Callable): The pipeline.
        num_classes (int, optional): Number of classes of a segmentor. None: label maps
            are not checked.
        ignore_index (int): Label of ignored pixels.
        bad (BadSamples, optional): Policy for bad samples. Defaults to None: raise.
    """

    def __init__(
        self,
        pipeline: Callable[[dict], Any],
        num_classes: int | None,
        ignore_index: int,
        bad: BadSamples | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.bad = bad

    @property
    def transforms(self) -> list:
        """The pipeline's transforms."""
        return self.pipeline.transforms  # type: ignore[attr-defined]

    def __call__(self, results: dict) -> Any:
        """Run the pipeline.

        Args:
            results (dict): The dataset's record of a sample.

        Returns:
            The pipeline's output; None for a skipped sample, which the dataset
            replaces.

        Raises:
            ValueError: If it fails or the label map is wrong; names the sample's files.
        """
        names = files_of(results)
        try:
            return self._run(results, names)
        except BadSampleError as error:
            if self.bad is None or not self.bad.skip:
                raise
            self.bad.note(names, str(error))
            return None

    def _run(self, results: dict, names: str) -> Any:
        transforms = getattr(self.pipeline, 'transforms', [self.pipeline])
        sample: Any = results
        looked = self.num_classes is None
        for transform in transforms:
            try:
                sample = transform(sample)
            except _OF_PROGRAMS as error:
                if loads(transform):
                    raise BadSampleError(_unreadable(names, error)) from error
                raise ValueError(
                    f'{type(transform).__name__} fails at {names} '
                    f'({type(error).__name__}: {error}), because of a bug rather '
                    'than the files. Fix the transform.'
                ) from error
            except Exception as error:
                raise BadSampleError(_unreadable(names, error)) from error
            if sample is None:
                return None
            if not looked and isinstance(sample, dict) and 'gt_seg_map' in sample:
                looked = True
                self._look_at_label_map(sample, names, is_stock(transform))
        labels = None if self.num_classes is None else _labels(sample)
        if labels is not None:
            self._look_at_values(labels, names)
        return sample

    def _look_at_label_map(self, results: dict, names: str, as_stock: bool) -> None:
        """Check a label map that was just loaded."""
        if as_stock:
            check_channels(results['gt_seg_map'], results.get('seg_map_path'))
            check_size(results)
            check_depth(str(results.get('seg_map_path')))
        if self.bad and (results['gt_seg_map'] == self.ignore_index).all():
            self.bad.note(names, 'every pixel of the label map is ignored')

    def _look_at_values(self, labels: np.ndarray, names: str) -> None:
        assert self.num_classes is not None
        wrong = label_values_out_of_range(labels, self.num_classes, self.ignore_index)
        if wrong:
            raise BadSampleError(
                f'The label of {names} has the values {wrong}, but the model has '
                f'classes 0 to {self.num_classes - 1} (and {self.ignore_index} to '
                'ignore). Fix the file, num_classes or reduce_zero_label.'
            )


def loads(transform: object) -> bool:
    """Return True for an upstream transform that reads files."""
    return is_stock(transform) and type(transform).__name__.startswith('Load')


def _unreadable(names: str, error: Exception) -> str:
    return (
        f'{names} could not be loaded or transformed ({type(error).__name__}: '
        f'{error}). If a file is broken, replace it or take both out of their folders.'
    )


def _labels(sample: Any) -> np.ndarray | None:
    """Return the label map in a pipeline's output, if any."""
    if not isinstance(sample, dict):
        return None
    packed = sample.get('data_samples')
    if isinstance(packed, list):  # test-time augmentation: the label is the same
        packed = packed[0]
    if packed is None:  # not packed yet, e.g. for MultiImageMixDataset
        return sample.get('gt_seg_map')
    label = getattr(packed, 'gt_sem_seg', None)
    return None if label is None else label.data.numpy()


def guard(
    dataset: Any,
    num_classes: int | None = None,
    ignore_index: int = 255,
    bad: BadSamples | None = None,
) -> None:
    """Wrap the pipelines of a dataset, also inside wrappers, in place.

    Args:
        dataset (Any): A built dataset.
        num_classes (int, optional): Number of classes of a segmentor. Defaults to None:
            label maps are not checked.
        ignore_index (int): Label of ignored pixels. Defaults to 255.
        bad (BadSamples, optional): Policy for bad samples. Defaults to None: raise.
    """
    if isinstance(dataset, BaseDataset):
        if not isinstance(dataset.pipeline, GuardedPipeline):
            of_maps = num_classes if isinstance(dataset, BaseSegDataset) else None
            dataset.pipeline = GuardedPipeline(
                dataset.pipeline, of_maps, ignore_index, bad
            )
        return
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for each in inner:
        if each is not None:
            guard(each, num_classes, ignore_index, bad)
