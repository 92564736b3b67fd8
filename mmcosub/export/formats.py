"""The formats: how each is written, and read to check it."""

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Run = Callable[[Tensor], Tensor]
INPUT = 'image'


class Format(NamedTuple):
    """A file format: its suffix, functions and packages.

    ``write`` takes a module, an example image, the numbers of the open dimensions and
    the file, ``load`` the file.
    """

    suffix: str
    write: Callable[[nn.Module, Tensor, tuple[int, ...], Path], object]
    load: Callable[[Path], Run]
    packages: tuple[str, ...] = ()


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


def _open(dims: tuple[int, ...]) -> tuple | None:
    """Return what torch.export is told of dimensions whose size is open."""
    return (dict.fromkeys(dims, torch.export.Dim.DYNAMIC),) if dims else None


def _torchscript(
    module: nn.Module, image: Tensor, dims: tuple[int, ...], path: Path
) -> None:
    torch.jit.trace(module, image, check_trace=False).save(str(path))


def _load_torchscript(path: Path) -> Run:
    with quiet():  # deprecated in favour of pt2, and in use
        return torch.jit.load(path)


def _pt2(module: nn.Module, image: Tensor, dims: tuple[int, ...], path: Path) -> None:
    program = torch.export.export(
        module, (image,), dynamic_shapes=_open(dims), strict=False
    )
    torch.export.save(program, path)


def _onnx(module: Any, image: Tensor, dims: tuple[int, ...], path: Path) -> None:
    program: Any = torch.onnx.export(
        module,
        (image,),
        dynamo=True,
        dynamic_shapes=_open(dims),
        input_names=[INPUT],
        output_names=[module.output],
        verbose=False,
    )
    program.save(str(path))


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda image: torch.from_numpy(session.run(None, {INPUT: image.numpy()})[0])


_ONNX = ('onnx', 'onnxscript', 'onnxruntime')
FORMATS = {
    'onnx': Format('.onnx', _onnx, _load_onnx, _ONNX),
    'torchscript': Format('.pt', _torchscript, _load_torchscript),
    'pt2': Format('.pt2', _pt2, lambda path: torch.export.load(path).module()),
}


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
