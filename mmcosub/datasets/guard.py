"""Errors of a dataset's pipeline that name the file."""

from collections.abc import Callable
from typing import Any

import numpy as np
from mmseg.datasets import BaseSegDataset


class GuardedPipeline:
    """A pipeline whose errors name the files that it was working on.

    Besides, a label value that no class has is an error here, rather than a wrong
    index in a loss, or an assertion on the device, later.

    Args:
        pipeline (Callable): The pipeline.
        num_classes (int): Number of classes of the model.
        ignore_index (int): Label of pixels to leave out.
    """

    def __init__(
        self, pipeline: Callable[[dict], Any], num_classes: int, ignore_index: int
    ) -> None:
        self.pipeline = pipeline
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    @property
    def transforms(self) -> list:
        """The pipeline's transforms."""
        return self.pipeline.transforms  # type: ignore[attr-defined]

    def __call__(self, results: dict) -> Any:
        """Run the pipeline.

        Args:
            results (dict): What the dataset knows of one sample.

        Raises:
            ValueError: If it fails, or a label value is out of range, naming the
                sample's files.
        """
        files = [results.get(key) for key in ('img_path', 'seg_map_path')]
        names = ' and '.join(str(file) for file in files if file)
        try:
            sample = self.pipeline(results)
        except Exception as error:
            raise ValueError(
                f'{names} could not be loaded or transformed '
                f'({type(error).__name__}: {error}). If a file is broken, replace it '
                'or take both out of their folders.'
            ) from error
        labels = _labels(sample)
        if labels is not None:
            wrong = label_values_out_of_range(
                labels, self.num_classes, self.ignore_index
            )
            if wrong:
                raise ValueError(
                    f'The label of {names} has the values {wrong}, but the model has '
                    f'classes 0 to {self.num_classes - 1} (and {self.ignore_index} to '
                    'ignore). Mend the file, num_classes or reduce_zero_label.'
                )
        return sample


def _labels(sample: Any) -> np.ndarray | None:
    """The label map in what a pipeline returned, if there is one."""
    if not isinstance(sample, dict):
        return None
    packed = sample.get('data_samples')
    if isinstance(packed, list):  # test-time augmentation: the label is the same
        packed = packed[0]
    if packed is None:  # left unpacked for a wrapper such as MultiImageMixDataset
        return sample.get('gt_seg_map')
    label = getattr(packed, 'gt_sem_seg', None)
    return None if label is None else label.data.numpy()


def label_values_out_of_range(
    labels: np.ndarray, num_classes: int, ignore_index: int
) -> list[int]:
    """Up to five values of a label map that are neither a class nor to be ignored.

    Args:
        labels (ndarray): Label map of any shape.
        num_classes (int): Number of classes.
        ignore_index (int): Label of pixels to leave out.
    """
    wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    return np.unique(labels[wrong])[:5].tolist() if wrong.any() else []


def guard(dataset: Any, num_classes: int, ignore_index: int = 255) -> None:
    """Guard the pipelines of a dataset, also inside wrappers, in place.

    Args:
        dataset (Any): A built dataset.
        num_classes (int): Number of classes of the model.
        ignore_index (int): Label of pixels to leave out. Defaults to 255.
    """
    if isinstance(dataset, BaseSegDataset):
        if not isinstance(dataset.pipeline, GuardedPipeline):
            dataset.pipeline = GuardedPipeline(
                dataset.pipeline, num_classes, ignore_index
            )
        return
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for each in inner:
        if each is not None:
            guard(each, num_classes, ignore_index)
