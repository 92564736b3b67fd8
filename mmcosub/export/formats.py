"""The formats: how each is written, and read to check it."""

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SUFFIXES = {'onnx': '.onnx', 'torchscript': '.pt', 'pt2': '.pt2'}
"""Suffix of the files, by format."""
INPUT = 'image'


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what exporters log and warn of, as outputs are compared anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


def write(
    kind: str, module: Any, image: Tensor, dims: tuple[int, ...], path: Path
) -> None:
    """Write a module, given an example image and the dimensions of open size."""
    if kind == 'torchscript':
        torch.jit.trace(module, image, check_trace=False).save(str(path))
        return
    shapes = (dict.fromkeys(dims, torch.export.Dim.DYNAMIC),) if dims else None
    if kind == 'pt2':
        program = torch.export.export(
            module, (image,), dynamic_shapes=shapes, strict=False
        )
        torch.export.save(program, path)
        return
    onnx_program: Any = torch.onnx.export(
        module,
        (image,),
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=[INPUT],
        output_names=[module.output],
        verbose=False,
    )
    onnx_program.save(str(path))


def load(kind: str, path: Path) -> Callable[[Tensor], Tensor]:
    """Return a function of images from a file."""
    if kind == 'torchscript':
        with quiet():  # deprecated in favour of pt2, and in use
            return torch.jit.load(path)
    if kind == 'pt2':
        return torch.export.load(path).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda image: torch.from_numpy(session.run(None, {INPUT: image.numpy()})[0])


def reason(error: BaseException) -> str:
    """Return what keeps an exporter from making a graph: an operator or first cause."""
    said = str(error)
    while error.__cause__ is not None:
        error = error.__cause__
        said += f'\n{error}'
    operator = re.search(r"No ONNX function found for .*?'([\w.:]+)'", said)
    if operator:
        return f'ONNX has no operator for {operator[1]}'
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'
