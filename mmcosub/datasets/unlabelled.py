"""Images without labels, and their weak and strong views."""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from mmcosub.names import type_name
from mmcosub.registry import DATASETS, TRANSFORMS
from mmcosub.schemes.unlabelled import IMAGE

from .guard import BadSamples, GuardedPipeline
from .listing import images_in, read_list

PHOTOMETRIC = {
    *('Albu', 'AutoContrast', 'Brightness', 'ColorJitter', 'ColorTransform'),
    *('Contrast', 'Equalize', 'GaussianBlur', 'Invert', 'Lighting'),
    *('PhotoMetricDistortion', 'Posterize', 'RandomErasing', 'RandomGrayscale'),
    *('RandomMosaic', 'Sharpness', 'Solarize', 'SolarizeAdd'),
}
"""Transforms of a training pipeline that the weak view leaves out; mosaics, too."""

MIXTURES = {'AutoAugment', 'RandAugment', 'RandomApply', 'RandomChoice'}
"""The same for classifiers only, as these may move pixels."""

_OF_COLOURS = (
    dict(
        **dict(type='mmpretrain.ColorJitter', backend='cv2', hue=0.25),
        **dict.fromkeys(('brightness', 'contrast', 'saturation'), 0.5),
    ),
    dict(type='mmpretrain.RandomGrayscale', prob=0.2, keep_channels=True),
    dict(type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2.0), prob=0.5),
)
"""Changes of colour, after FixMatch for segmentation (UniMatch, 2208.09910)."""


@TRANSFORMS.register_module()
class StrongColours(BaseTransform):
    """Default strong view: jitter of colours, greyscale and blur.

    For images of other than three channels of 8 bits: jitter of brightness and
    contrast, and the same blur.
    """

    def __init__(self) -> None:
        self.of_colours = Compose([MMENGINE_TRANSFORMS.build(t) for t in _OF_COLOURS])

    def transform(self, results: dict) -> dict | None:
        """Change ``img``."""
        image = results['img']
        if image.dtype == np.uint8 and image.shape[2:] == (3,):
            return self.of_colours(results)
        brightness, contrast = np.random.uniform(0.5, 1.5, 2)
        changed, mean = image.astype(np.float32), image.mean(dtype=np.float64)
        changed = brightness * (contrast * (changed - mean) + mean)
        if np.random.rand() < 0.5:
            changed = cv2.GaussianBlur(changed, (0, 0), np.random.uniform(0.1, 2.0))
        if np.issubdtype(image.dtype, np.integer):
            info = np.iinfo(image.dtype)
            changed = changed.clip(info.min, info.max)
        results['img'] = changed.reshape(image.shape).astype(image.dtype)
        return results


@TRANSFORMS.register_module()
class NoLabel(BaseTransform):
    """Stand-in for ``LoadAnnotations``: a label map that marks padding.

    It is ``IMAGE`` at image pixels; transforms pad it with another label.
    """

    def transform(self, results: dict) -> dict:
        """Add the map to a record with an image in ``img``."""
        results['gt_seg_map'] = np.full(results['img'].shape[:2], IMAGE, np.uint8)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class PackWeakAndStrong(BaseTransform):
    """Pack an image twice: as it is, and after further transforms.

    Args:
        strong (Sequence[dict]): The further transforms. They may not move pixels of an
            image that has a label map.
        pack (dict): Config of the transform that packs one image.

    Raises:
        ValueError: When called, if the strong transforms move pixels, naming them.
    """

    def __init__(self, strong: Sequence[dict], pack: dict) -> None:
        self.strong = Compose([MMENGINE_TRANSFORMS.build(t) for t in strong])
        self.pack = MMENGINE_TRANSFORMS.build(pack)
        self.names = [str(t['type']) for t in strong]
        names = {name.rpartition('.')[2] for name in self.names}
        self.of_colours = not names.isdisjoint(PHOTOMETRIC)

    def transform(self, results: dict) -> dict:
        """Pack both views of a record; the other one's image is in ``strong``."""
        # A flip of a single pixel leaves strides that torch does not take.
        results['img'] = np.array(results['img'], order='C')
        if self.of_colours:
            self._check_colours(results['img'])
        other = copy.deepcopy(results)
        probe = other.get('gt_seg_map')
        if probe is not None:
            if not (probe == IMAGE).any():
                raise ValueError(
                    'The label map of an unlabelled image marks no pixel of it, so '
                    'nothing would be learned. Put mmcosub.NoLabel in the pipeline.'
                )
            # Unique values, so that any movement of pixels shows.
            probe = np.arange(probe.size, dtype=np.int64).reshape(probe.shape)
            other['gt_seg_map'] = probe.copy()
        other = self.strong(other)
        if probe is not None and not np.array_equal(other['gt_seg_map'], probe):
            raise ValueError(
                f'unlabelled.strong={self.names} moves pixels, so that the teacher and '
                'the students would see different places. Leave out what crops, flips '
                'or warps; the training pipeline does that for both.'
            )
        packed = self.pack(results)
        other['gt_seg_map'] = results.get('gt_seg_map')
        return dict(packed, strong=self.pack(other)['inputs'])

    def _check_colours(self, image: np.ndarray) -> None:
        colours = image.shape[2:] == (3,) and image.min() >= 0 and image.max() <= 255
        if not colours:
            raise ValueError(
                f'unlabelled.strong={self.names} is for 8-bit RGB, but this image has '
                f'the shape {image.shape} and values up to {image.max():g}. Set '
                'unlabelled.strong to transforms of your own for such images.'
            )


def weak_and_strong(
    pipeline: Sequence[dict], strong: Sequence[dict], given: bool = False
) -> list[dict]:
    """Return the pipeline of both views, made from one that ends by packing an image.

    ``strong`` leads from the weak to the strong view. The weak view leaves out changes
    of colour, unless the pipeline is ``given`` for it.
    """
    *steps, pack = pipeline
    last = type_name(pack)
    if last == 'PackWeakAndStrong':
        return [*pipeline]
    if not last.startswith('Pack'):
        raise ValueError(
            f'The pipeline of unlabelled images ends with {last}, and needs an end '
            'like PackSegInputs or PackInputs. Set unlabelled.pipeline.'
        )
    if not all(isinstance(step, dict) for step in strong):  # letters of a name
        said = f'unlabelled.strong must be a list of transforms, not {strong!r}.'
        raise ValueError(said)
    marks = {'LoadAnnotations', 'NoLabel'} & {*map(type_name, steps)}
    if last == 'PackSegInputs' and not marks:
        steps.insert(1, dict(type='LoadAnnotations'))  # after loading the image
    names = [type_name(step) for step in steps]
    left_out = PHOTOMETRIC if 'LoadAnnotations' in names else PHOTOMETRIC | MIXTURES
    weak = [
        dict(type='mmcosub.NoLabel') if name == 'LoadAnnotations' else step
        for name, step in zip(names, steps, strict=True)
        if given or name not in left_out
    ]
    return [*weak, dict(type='mmcosub.PackWeakAndStrong', strong=[*strong], pack=pack)]


@DATASETS.register_module()
class UnlabelledImages(Dataset):
    """Dataset of the images of a folder, recursively, or of a list.

    Args:
        data_root (str): The folder, or a text file with one image path a line, absolute
            or relative to the file's folder.
        pipeline (Sequence[dict]): The transforms.
        bad (BadSamples, optional): Policy for images that cannot be loaded; the next
            one takes the place of a skipped one. Defaults to None: raise.

    Raises:
        FileNotFoundError: If there is no such folder or file, or a listed image.
        ValueError: If there is no image.
    """

    def __init__(
        self, data_root: str, pipeline: Sequence[dict], bad: BadSamples | None = None
    ) -> None:
        self.files = find_images(data_root)
        transforms = Compose([MMENGINE_TRANSFORMS.build(t) for t in pipeline])
        self.pipeline = GuardedPipeline(transforms, None, bad=bad)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        tries = min(len(self), 1000)  # as in MMEngine
        for i in range(tries):
            file = str(self.files[(index + i) % len(self)])
            record = dict(img_path=file, seg_fields=[], reduce_zero_label=False)
            if (sample := self.pipeline(record)) is not None:
                return sample
        raise ValueError(
            f'None of {tries} unlabelled images can be loaded: bad_data.txt says why.'
        )


def find_images(place: Any) -> list[Path]:
    """Return the sorted image files of a folder, or those of a list.

    ``place`` is ``unlabelled.data_root``.
    """
    if not isinstance(place, str):
        raise ValueError(
            'unlabelled.data_root must be a folder of images, or a text file with one '
            f'path a line, not {place!r}.'
        )
    path = Path(place)
    if path.is_dir():
        files = images_in(path)
    elif path.is_file():
        lines = read_list(path).removeprefix('\ufeff').splitlines()
        files = [path.parent / line.strip() for line in lines if line.strip()]
        if missing := [file for file in files if not file.is_file()]:
            raise FileNotFoundError(
                f'{path} lists {len(missing)} files that are not there, the first '
                f'{missing[0]}.'
            )
    else:
        raise FileNotFoundError(f'unlabelled.data_root: no folder or list {place}.')
    if not files:
        raise ValueError(
            f'unlabelled.data_root: {place} has no image '
            f'({", ".join(sorted(IMG_EXTENSIONS))}).'
        )
    return files


def also_labelled(unlabelled: Iterable[Path], labelled: Iterable[str]) -> int:
    """Count the unlabelled files that are labelled images, by links too."""
    known = {path.resolve() for path in map(Path, labelled) if path.is_file()}
    return sum(file.resolve() in known for file in unlabelled)
