"""The formats: how each is written, and read to check it."""

import importlib.util
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[Tensor], Tensor]
INPUT = 'image'


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        suffix (str): Of its files.
        write (Callable): Writes a module, given an example image, the numbers of the
            open dimensions and the file.
        load (Callable): Returns a function of images; None if nothing here runs it.
        packages (tuple[str, ...]): What has to be installed to write it.
    """

    suffix: str
    write: Callable[[nn.Module, Tensor, tuple[int, ...], Path], object]
    load: Callable[[Path], Run | None]
    packages: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ValueError, with the remedy, if packages are missing."""
        missing = [p for p in self.packages if importlib.util.find_spec(p) is None]
        if missing:
            raise ValueError(
                f'This format needs {" and ".join(missing)}: '
                'pip install onnx onnxscript onnxruntime'
            )


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


def _onnxruntime(path: Path) -> Run | None:
    if importlib.util.find_spec('onnxruntime') is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda image: torch.from_numpy(session.run(None, {INPUT: image.numpy()})[0])


FORMATS = {
    'onnx': Format('.onnx', _onnx, _onnxruntime, ('onnx', 'onnxscript')),
    'torchscript': Format('.pt', _torchscript, _load_torchscript),
    'pt2': Format('.pt2', _pt2, lambda path: torch.export.load(path).module()),
}


def reason(error: BaseException) -> str:
    """Return what keeps an exporter from making a graph.

    An operator, or the last of the causes that it wraps.
    """
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    for cause in reversed(causes):
        operator = re.search(r"No ONNX function found for .*?'([\w.:]+)'", str(cause))
        if operator:
            return f'ONNX has no operator for {operator[1]}'
    lines = [line.strip() for line in str(causes[-1]).splitlines() if line.strip()]
    return f'{type(causes[-1]).__name__}: {(lines or [""])[0]}'
