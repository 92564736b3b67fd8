"""The page beside an exported file, about its input and output."""

from pathlib import Path
from typing import Any

import torch

from mmcosub.analysis.steps import flips_channels
from mmcosub.engine.prediction import steps_of_pipeline

from .exporting import Exported
from .formats import INPUT

_RUN = {
    '.onnx': """\
import onnxruntime

session = onnxruntime.InferenceSession('{file}')
({output},) = session.run(None, {{'{input}': {input}}})  # a NumPy array""",
    '.pt': "import torch\n\n{output} = torch.jit.load('{file}')({input})",
    '.pt2': (
        "import torch\n\n{output} = torch.export.load('{file}').module()({input})"
    ),
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


def write_card(exported: Exported) -> Path:
    """Write the page, named as the file with ``.md`` behind, and return its path."""
    path, module = exported.path, exported.module
    page = path.with_name(f'{path.name}.md')
    names = dict(file=path.name, input=INPUT, output=module.output)
    sizes = ['batch', '', 'height', 'width']
    opened = {sizes[dim] for dim in exported.dims}
    meaning, sizes_out = 'probability of each class', ['batch', '']
    if module.segments:
        meaning = 'class of each pixel of the input, numbered from 0'
        sizes_out = ['batch', 'height', 'width']
    classes = module.model.dataset_meta.get('classes') or ()
    listed = '\n'.join(f'- {number}: {name}' for number, name in enumerate(classes))
    text = _PAGE.format(
        **names,
        input_type=_type(exported.input, sizes, opened),
        output_type=_type(exported.output, sizes_out, opened),
        values=_values(exported),
        meaning=meaning,
        before=steps_before(module.model),
        run=_RUN[path.suffix].format(**names),
        torch=torch.__version__,
        parity=exported.parity,
        classes=f'\nClasses:\n\n{listed}\n' if classes else '',
    )
    page.write_text(text, encoding='utf-8')
    return page


def _type(value: torch.Tensor, names: list[str], opened: set[str]) -> str:
    """Return shape, with names of open sizes, and dtype as cells of the table."""
    pairs = zip(names, value.shape, strict=True)
    sizes = [name if name in opened else str(size) for name, size in pairs]
    dtype = str(value.dtype).removeprefix('torch.')
    return f'({", ".join(sizes)}) | {dtype}'


def _values(exported: Exported) -> str:
    """Return the meaning of the values of the input."""
    model, order = exported.module.model, ''
    if exported.input.shape[1] == 3:
        order = f', channels {"RGB" if flips_channels(model) else "BGR"}'
    given = model.data_preprocessor
    if exported.module.preprocessing or not given._enable_normalize:
        after = ' after the steps below' * bool(steps_before(model))
        return f'values of the image file{after}{order}'
    mean, std = (
        [round(value, 4) for value in stats.flatten().tolist()]
        for stats in (given.mean, given.std)
    )
    return f'(value - mean) / std, mean {mean}, std {std}{order}'


def steps_before(model: Any) -> str:
    """Return the steps of the test pipeline before the model."""
    steps = steps_of_pipeline(model.cfg)
    kept = [
        f'- `{dict(step)}`\n'
        for step in steps
        if not any(word in str(step['type']) for word in ('Load', 'Pack'))
    ]
    if not kept:
        return ''
    said = 'In testing, the pipeline does this before, to images loaded as BGR'
    return f'{said}:\n\n{"".join(kept)}\n'
