"""Bad samples: pipelines whose errors name the files, raised or listed and skipped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmseg.datasets import BaseSegDataset
from numpy.typing import NDArray

from mmcosub.files import ANY_NAME

from .labels import BadSampleError, check_loaded, check_values, is_stock

# Errors that are bugs of a transform, whatever the file.
_OF_PROGRAMS = (TypeError, AttributeError, NameError, ImportError, LookupError)


class BadSamples:
    """Policy for bad samples, with a file of them that all workers append to.

    The policy is 'raise', to end the run, or 'skip', to take another sample instead.
    """

    def __init__(self, policy: str, listed: Path) -> None:
        if policy not in ('raise', 'skip'):
            raise ValueError(
                f"bad_data={policy!r} must be 'raise', to end the run at a bad sample, "
                "or 'skip', to count and list it and to take another."
            )
        self.skip = policy == 'skip'
        self.listed = listed
        self._known: set[str] = set()

    def note(self, names: str, reason: str) -> None:
        """Record a sample, once."""
        if names not in self._known:
            self._known.update(self.names())  # other processes write, too
        if names not in self._known:
            self._known.add(names)
            self.listed.parent.mkdir(parents=True, exist_ok=True)
            with self.listed.open('a', **ANY_NAME) as file:
                file.write(f'{names}\t{" ".join(reason.split())}\n')

    def names(self) -> list[str]:
        """Files of the samples recorded so far, by any process."""
        if not self.listed.is_file():
            return []
        lines = self.listed.read_text(**ANY_NAME).split('\n')
        return [line.split('\t')[0] for line in lines if line]


def files_of(info: dict) -> str:
    """Return the image and label map of a dataset's record of a sample, as text."""
    files = [info.get(key) for key in ('img_path', 'seg_map_path')]
    return ' and '.join(str(file) for file in files if file)


@dataclass
class GuardedPipeline:
    """Pipeline whose errors name the sample's files.

    It also raises for a label map with another size than its image, values of more than
    8 bits, or values without a class (unless there are no ``num_classes``). With
    ``bad_data='skip'`` it returns None for such a sample, which the dataset replaces.
    """

    pipeline: Callable[[dict], Any]
    num_classes: int | None
    ignore_index: int = 255
    bad: BadSamples | None = None

    @property
    def transforms(self) -> list:
        """The pipeline's transforms."""
        return getattr(self.pipeline, 'transforms', [self.pipeline])

    def __call__(self, results: dict) -> Any:
        """Run the pipeline on a dataset's record of a sample."""
        names = files_of(results)
        try:
            return self._run(results, names)
        except BadSampleError as error:
            if self.bad is None or not self.bad.skip:
                raise
            self.bad.note(names, str(error))
            return None

    def _run(self, results: dict, names: str) -> Any:
        sample: Any = results
        looked = self.num_classes is None
        for transform in self.transforms:
            sample = _apply(transform, sample, names)
            if sample is None:
                return None
            if not looked and isinstance(sample, dict) and 'gt_seg_map' in sample:
                looked = True
                if is_stock(transform):
                    check_loaded(sample)
                if self.bad and (sample['gt_seg_map'] == self.ignore_index).all():
                    self.bad.note(names, 'every pixel of the label map is ignored')
        labels = _labels(sample)
        if self.num_classes is not None and labels is not None:
            check_values(labels, self.num_classes, self.ignore_index, names)
        return sample


def _apply(transform: Callable, sample: Any, names: str) -> Any:
    """Apply a transform; its errors name the files, or say that it has a bug."""
    try:
        return transform(sample)
    except Exception as error:
        kind = type(transform).__name__
        said = f'{type(error).__name__}: {error}'
        loads = is_stock(transform) and kind.startswith('Load')
        if isinstance(error, _OF_PROGRAMS) and not loads:
            raise ValueError(
                f'{kind} fails at {names} ({said}), because of a bug rather than the '
                'files. Fix the transform.'
            ) from error
        raise BadSampleError(
            f'{names} could not be loaded or transformed ({said}). If a file is '
            "broken, replace it, take the sample out, or set bad_data='skip'."
        ) from error


def _labels(sample: Any) -> NDArray | None:
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


def leaves(dataset: Any) -> Iterator[Any]:
    """Yield the datasets, or their configs, inside wrappers such as RepeatDataset."""
    read = dataset.get if isinstance(dataset, dict) else partial(getattr, dataset)
    inner = read('datasets', None) or [read('dataset', None)]
    if isinstance(dataset, BaseDataset) or inner == [None]:
        inner = []
        yield dataset
    for each in inner:
        yield from leaves(each)


def guard(
    dataset: Any,
    num_classes: int | None = None,
    ignore_index: int = 255,
    bad: BadSamples | None = None,
) -> None:
    """Wrap the pipelines of a built dataset, also inside wrappers, in place.

    Arguments as of :class:`GuardedPipeline`; only those of mmseg's datasets check label
    maps.
    """
    for leaf in leaves(dataset):
        pipeline: Any = getattr(leaf, 'pipeline', None)
        if isinstance(leaf, BaseDataset) and not isinstance(pipeline, GuardedPipeline):
            of_maps = num_classes if isinstance(leaf, BaseSegDataset) else None
            leaf.pipeline = GuardedPipeline(pipeline, of_maps, ignore_index, bad)
