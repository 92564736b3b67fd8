"""The page beside an exported file, about its input and output."""

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
({output},) = session.run(None, {{'{input}': {input}}})  # a NumPy array""",
    '.pt': """\
import torch

{output} = torch.jit.load('{file}')({input})""",
    '.pt2': """\
import torch

{output} = torch.export.load('{file}').module()({input})""",
}
_PAGE = """\
# {file}

|  | name | shape | dtype | meaning |
| --- | --- | --- | --- | --- |
| input | `{input}` | {input_type} | {values} |
| output | `{output}` | {output_type} | {meaning} |

{before}```python
{run}
```

Written with PyTorch {torch}. Checked: {parity}.
{classes}"""


def write_card(exported: Exported, model: Any) -> Path:
    """Write the page, named as the file with ``.md`` behind, and return its path."""
    path = exported.path
    page = path.with_name(f'{path.name}.md')
    names = dict(file=path.name, input=INPUT, output=exported.name)
    meaning, inner = 'class of each pixel, numbered from 0', {1: 'height', 2: 'width'}
    if exported.name != 'classes':
        meaning, inner = 'probability of each class', {}
    open_names = {0: 'batch', 2: 'height', 3: 'width'}
    opened = {open_names[dim] for dim in exported.dims}
    classes = model.dataset_meta.get('classes') or ()
    listed = '\n'.join(f'- {number}: {name}' for number, name in enumerate(classes))
    text = _PAGE.format(
        **names,
        input_type=_type(exported.input, open_names, opened),
        output_type=_type(exported.output, {0: 'batch', **inner}, opened),
        values=_values(exported, model),
        meaning=meaning,
        before=steps_before(model),
        run=_RUN[path.suffix].format(**names),
        torch=torch.__version__,
        parity=exported.parity,
        classes=f'\nClasses:\n\n{listed}\n' if classes else '',
    )
    page.write_text(text)
    return page


def _type(value: torch.Tensor, names: dict[int, str], opened: set[str]) -> str:
    """Return shape, with names of open sizes, and dtype as cells of the table."""
    sizes = [
        names[i] if names.get(i) in opened else str(size)
        for i, size in enumerate(value.shape)
    ]
    dtype = str(value.dtype).removeprefix('torch.')
    return f'({", ".join(sizes)}) | {dtype}'


def _values(exported: Exported, model: Any) -> str:
    """Return the meaning of the values of the input."""
    order = ''
    if exported.input.shape[1] == 3:
        order = f', channels {"RGB" if exported.flips else "BGR"}'
    given = model.data_preprocessor
    if exported.preprocessing or not given._enable_normalize:
        return f'values of the image file{order}'
    mean, std = (
        [round(value, 4) for value in stats.flatten().tolist()]
        for stats in (given.mean, given.std)
    )
    return f'(value - mean) / std, mean {mean}, std {std}{order}'


def steps_before(model: Any) -> str:
    """Return the steps of the test pipeline before the model."""
    steps = pipeline_of(model.cfg) if model.cfg.get('test_dataloader') else []
    kept = [
        f'- `{dict(step)}`\n'
        for step in steps
        if not any(word in str(step['type']) for word in ('Load', 'Pack'))
    ]
    if not kept:
        return ''
    return f'In testing, the pipeline does this to images before:\n\n{"".join(kept)}\n'
