"""Export of a model to a file, whose outputs are compared with upstream's.

Shapes: ``B`` images, ``C`` classes, ``H, W`` of the images.
"""

import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import TRANSFORMS
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import Tensor

from mmcosub.analysis.steps import Shape, flips_channels, input_channels
from mmcosub.engine.prediction import steps_of_pipeline
from mmcosub.names import type_name

from .formats import SUFFIXES, load, quiet, reason, write
from .graph import DeployedModel

_ONNX = ('onnx', 'onnxscript', 'onnxruntime')
DIMENSIONS = {None: (), 'batch': (0,), 'all': (0, 2, 3)}
"""Dimensions of the images whose size is open, by the value of ``dynamic``."""


@dataclass(frozen=True)
class Exported:
    """A written file.

    Args:
        path (Path): The file.
        module (DeployedModel): What it computes.
        input (Tensor): Images as it takes them.
        output (Tensor): What it predicts for the images.
        parity (str): How its outputs compare with upstream's.
        dims (tuple[int, ...]): Dimensions of the input whose size is open.
    """

    path: Path
    module: DeployedModel
    input: Tensor
    output: Tensor
    parity: str
    dims: tuple[int, ...]


@torch.no_grad()
def export(
    model: Any,
    path: Path,
    kind: str,
    shape: Shape,
    dynamic: str | None = None,
    preprocessing: bool = False,
) -> Exported:
    """Write a model to a file and compare its outputs with the model's.

    Args:
        model (nn.Module): Of :func:`mmcosub.engine.prediction.load_model`, on the CPU.
        path (Path): The file.
        kind (str): One of :data:`SUFFIXES`.
        shape (tuple[int, int]): Height and width of the images.
        dynamic (str, optional): 'batch' leaves the number of images open, 'all' height
            and width, too. Defaults to None, one image of the given size.
        preprocessing (bool): Whether the file normalises. Defaults to False.

    Raises:
        ValueError: If packages are missing, the model does not run at the size, the
            format cannot express it, or the outputs differ.
    """
    if kind == 'onnx' and not all(map(importlib.util.find_spec, _ONNX)):
        raise ValueError(f'onnx needs more packages: pip install {" ".join(_ONNX)}')
    dims = DIMENSIONS[dynamic]
    raw = [_noise(model, 2 if dims else 1, shape)]  # a graph of one takes no more
    wanted = [_upstream(model, raw[0])]
    if dims:
        raw.append(_noise(model, 3, _other_size(model, shape) if 2 in dims else shape))
        wanted.append(_upstream(model, raw[1]))
    module = DeployedModel(model, preprocessing)
    if dynamic == 'all':
        module.require_open_size()
    images = [_as_input(module, each) for each in raw]
    path.parent.mkdir(parents=True, exist_ok=True)
    # An earlier file of that name stays until the new one is right.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder, path.name)
        try:
            with quiet():
                write(kind, module, images[0], dims, written)
                run = load(kind, written)
                found = [run(image) for image in images]
        except Exception as error:  # exporters fail in any way
            other = ' or '.join(f'--format {each}' for each in SUFFIXES if each != kind)
            advice = 'leave out --dynamic, or take --dynamic batch or ' * bool(dims)
            raise ValueError(
                f'{_name(model)} cannot be written as {kind} ({reason(error)}): '
                f'{advice or "take "}{other}.'
            ) from error
        parity = _parity(wanted, found)
        if 'differ' in parity:
            raise ValueError(
                f'{_name(model)} as {kind} {parity}, so nothing was written. Heads '
                'that begin with random numbers cannot be exported.'
            )
        for file in Path(folder).iterdir():  # large ONNX models are two
            os.replace(file, path.parent / file.name)
    return Exported(path, module, images[0], found[0], parity, dims)


def _name(model: Any) -> str:
    parts = [model, *(getattr(model, key, None) for key in ('backbone', 'decode_head'))]
    return ' + '.join(type(part).__name__ for part in parts if part is not None)


def _other_size(model: Any, shape: Shape) -> Shape:
    """Return a size to check a file of open size with, odd if the model takes it.

    A graph may have fixed what depends on the remainder of a stride or on padding.
    """
    odd = (2 * shape[0] + 5, shape[1] // 2 + 3)
    try:
        _upstream(model, _noise(model, 1, odd))
    except ValueError:
        return 2 * shape[0], 2 * shape[1]
    return odd


def _noise(model: Any, count: int, shape: Shape) -> Tensor:
    """Return images of noise (B, channels, H, W), as loaders give them."""
    generator = torch.Generator().manual_seed(0)
    size = (count, input_channels(model), *shape)
    return torch.randint(256, size, generator=generator, dtype=torch.uint8)


def _as_input(module: DeployedModel, raw: Tensor) -> Tensor:
    """Return what the file takes for some images."""
    flips = flips_channels(module.model) and raw.shape[1] == 3
    image = raw.flip(1) if flips else raw
    if not module.preprocessing:
        return module.normalised(image)
    return image if _reads_bytes(module.model.cfg) else image.float()


def _reads_bytes(cfg: Any) -> bool:
    """Return True if the config's loader reads images of 8 bits."""
    first = (steps_of_pipeline(cfg) or [{}])[0]
    plain = type_name(first, TRANSFORMS) == 'LoadImageFromFile'
    colours = first.get('color_type', 'color') in ('color', 'grayscale')
    return plain and colours and not first.get('to_float32')


def _upstream(model: Any, raw: Tensor) -> Tensor:
    """Predict as in testing: classes (B, H, W), or probabilities (B, C)."""
    height, width = raw.shape[-2:]
    segments = hasattr(model, 'decode_head')
    size = dict(ori_shape=(height, width), img_shape=(height, width))
    sample = SegDataSample if segments else DataSample
    samples = [sample(metainfo=dict(size)) for _ in raw]
    try:
        found = model.test_step(dict(inputs=[*raw], data_samples=samples))
    except Exception as error:  # of any network
        raise ValueError(
            f'{_name(model)} does not run on images of {height}x{width} '
            f'({reason(error)}): give --shape another size, such as a multiple of 32, '
            "or of the backbone's stride or window."
        ) from error
    if segments:
        return torch.stack([each.pred_sem_seg.data[0].long() for each in found])
    return torch.stack([each.pred_score for each in found])


def _parity(wanted: list[Tensor], found: list[Tensor]) -> str:
    """Say how outputs compare; 'differ' if they are not the same."""
    pairs = [*zip(wanted, found, strict=True)]
    if any(w.shape != f.shape for w, f in pairs):
        return f'gives outputs that differ in shape, {tuple(found[-1].shape)}'
    if wanted[0].is_floating_point():
        # NaN if one of them is, unlike Python's max().
        gap = float(torch.stack([(w - f).abs().max() for w, f in pairs]).max())
        if not gap <= 1e-4:
            return f'gives probabilities that differ by up to {gap:.1g}'
        return f"probabilities are upstream's to {gap:.1g}"
    same = min(float((w == f).float().mean()) for w, f in pairs)
    if same < 0.999:  # of nearly equal logits, rounding decides
        return f'gives classes that differ at {1 - same:.2%} of the pixels'
    return f"{same:.2%} of the pixels have upstream's class"
