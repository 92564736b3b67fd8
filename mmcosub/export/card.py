"""The page beside an exported file: what goes in and what comes out."""

from pathlib import Path
from typing import Any

import torch

from mmcosub.engine.prediction import pipeline_of

from .exporting import Exported
from .formats import INPUT

_RUN = {
    '.onnx': """\
import onnxruntime

session = onnxruntime.InferenceSession('{file}')
({output},) = session.run(None, {{'{input}': {input}}})  # a NumPy array
""",
    '.pt': """\
import torch

{output} = torch.jit.load('{file}')({input})
""",
    '.pt2': """\
import torch

{output} = torch.export.load('{file}').module()({input})
""",
}


def write_card(exported: Exported, model: Any) -> Path:
    """Write the page, named as the file with ``.md`` behind.

    Args:
        exported (Exported): The file.
        model (nn.Module): The model that it was made of.

    Returns:
        Path: The page.
    """
    path = exported.path
    page = path.with_name(f'{path.name}.md')
    names = dict(file=path.name, input=INPUT, output=exported.name)
    meaning = (
        'class of each pixel, numbered from 0'
        if exported.name == 'classes'
        else 'probability of each class'
    )
    classes = model.dataset_meta.get('classes') or ()
    parts = [
        f'# {path.name}',
        '|  | name | shape | dtype | meaning |',
        '| --- | --- | --- | --- | --- |',
        _row('input', INPUT, exported.input, exported.dims, _values(exported, model)),
        _row('output', exported.name, exported.output, exported.dims, meaning),
        '',
        *_before(model),
        '```python',
        _RUN[path.suffix].format(**names).rstrip(),
        '```',
        '',
        f'Written with PyTorch {torch.__version__}. Checked: {exported.parity}.',
        '',
        *(['Classes:', ''] if classes else []),
        *(f'- {number}: {name}' for number, name in enumerate(classes)),
    ]
    page.write_text('\n'.join([parts[0], '', *parts[1:]]).rstrip() + '\n')
    return page


def _row(
    kind: str, name: str, value: torch.Tensor, dims: tuple[int, ...], meaning: str
) -> str:
    """One line of the table; sizes that are open have a name."""
    open_names = {0: 'batch', 2: 'height', 3: 'width'}
    if kind == 'output':  # classes are (batch, height, width)
        open_names = {0: 'batch', 1: 'height', 2: 'width'}
        dims = tuple({0: 0, 2: 1, 3: 2}[d] for d in dims if d == 0 or value.ndim == 3)
    sizes = [
        open_names[i] if i in dims else str(size) for i, size in enumerate(value.shape)
    ]
    dtype = str(value.dtype).removeprefix('torch.')
    return f'| {kind} | `{name}` | ({", ".join(sizes)}) | {dtype} | {meaning} |'


def _values(exported: Exported, model: Any) -> str:
    """Return what the values of the input are."""
    order = ''
    if exported.input.shape[1] == 3:
        order = f', channels {"RGB" if exported.flips else "BGR"}'
    given = model.data_preprocessor
    if exported.preprocessing or not given._enable_normalize:
        return f'values of the image file{order}'
    mean, std = ([round(v, 4) for v in t.flatten().tolist()] for t in _stats(given))
    return f'(value - mean) / std, mean {mean}, std {std}{order}'


def _stats(preprocessor: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return preprocessor.mean, preprocessor.std


def _before(model: Any) -> list[str]:
    """What the test pipeline does to an image before."""
    cfg = model.cfg
    steps = pipeline_of(cfg) if cfg.get('test_dataloader') else []
    kept = [
        dict(step)
        for step in steps
        if not any(word in str(step['type']) for word in ('Load', 'Pack'))
    ]
    if not kept:
        return []
    lines = [f'- `{step}`' for step in kept]
    return ['The test pipeline did this to images before:', '', *lines, '']
