"""A model as a folder of the Hugging Face Hub, for timm or Transformers to load."""

import math
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn

from mmcosub.analysis.steps import evaluation_shape, flips_channels
from mmcosub.checkpoints import publish
from mmcosub.engine.prediction import load_model, steps_of_pipeline

from .card import steps_before
from .hf_networks import timm_classifier, upernet

_CARD = """\
---
library_name: {library}
pipeline_tag: image-{task}
---
# {name}

{what}, trained with mmcosub. Logits differ by at most {difference:.0e} from
those of the model that it was converted from, relative to the largest.

```python
{code}
```

Input: RGB images of {height}x{width} pixels with values in [0, 1], (value - mean) / std
with mean {mean} and std {std}.

{before}{classes}"""
_OF_TIMMS_WEIGHTS = {'tag', 'license', 'origin_url', 'paper_ids', 'paper_name'}
_CODE = {
    'timm': """\
import timm

model = timm.create_model('local-dir:{name}', pretrained=True).eval()""",
    'transformers': """\
from transformers import AutoImageProcessor, UperNetForSemanticSegmentation

model = UperNetForSemanticSegmentation.from_pretrained('{name}').eval()
processor = AutoImageProcessor.from_pretrained('{name}')""",
}


@torch.no_grad()
def write_hf_folder(
    cfg: Config, checkpoint: str, folder: Path, average: bool = True
) -> float:
    """Write ``config.json``, ``model.safetensors`` and a model card, ``README.md``.

    Heads that only serve training are left out. Of a model of BGR images, the first
    convolution's channels are reversed. Returns the largest difference of the logits,
    relative to the largest of them. ValueError if neither library has the model, a
    package is not installed, or the folder is not empty.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f'{folder} is there already: name an empty or a new folder.')
    size = evaluation_shape(cfg)
    with tempfile.TemporaryDirectory() as scratch:
        weights = publish(checkpoint, Path(scratch) / 'weights.pth', average)
        model: Any = load_model(cfg, str(weights), 'cpu').eval()
        segments = hasattr(model, 'decode_head')
        network: Any = (
            upernet(model, size)
            if segments
            else timm_classifier(model, size, str(weights))
        )
    given = model.data_preprocessor
    channels = next(p for p in network.parameters() if p.ndim == 4).shape[1]
    mean, std = torch.zeros(channels), torch.ones(channels)
    if given._enable_normalize:
        mean, std = given.mean.flatten(), given.std.flatten()
    flips = not flips_channels(model) and channels == 3
    if flips:
        first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
        first.weight.copy_(first.weight.flip(1))
        mean, std = mean.flip(0), std.flip(0)
    difference = _difference(model, network.eval(), (2, channels, *size), flips)
    # In mm, of values up to 255.
    stats = {
        name: [round(value / 255, 6) for value in each.tolist()]
        for name, each in dict(mean=mean, std=std).items()
    }
    classes = [*map(str, model.dataset_meta.get('classes') or ())]
    folder.mkdir(parents=True, exist_ok=True)
    if segments:
        from transformers import SegformerImageProcessor

        network.save_pretrained(folder)
        SegformerImageProcessor(
            do_resize=False, image_mean=stats['mean'], image_std=stats['std']
        ).save_pretrained(folder)
    else:
        from timm.models import save_for_hf

        data = dict(input_size=(channels, *size), **_resizing(model, size), **stats)
        own = network.pretrained_cfg.items()
        network.pretrained_cfg = {k: v for k, v in own if k not in _OF_TIMMS_WEIGHTS}
        labels = dict(label_names=classes) if classes else None
        save_for_hf(
            network, str(folder), labels, safe_serialization=True, data_config=data
        )
    library = 'transformers' if segments else 'timm'
    what = type(model.backbone).__name__
    card = _CARD.format(
        library=library,
        task='segmentation' if segments else 'classification',
        name=folder.name,
        what=f'{type(model.decode_head).__name__} on {what}' if segments else what,
        difference=difference,
        code=_CODE[library].format(name=folder.name),
        height=size[0],
        width=size[1],
        before=steps_before(model),
        classes=''.join(f'- {number}: {name}\n' for number, name in enumerate(classes)),
        **stats,
    )
    (folder / 'README.md').write_text(card.rstrip() + '\n', encoding='utf-8')
    return difference


def _resizing(model: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Return timm's settings for the resizing and cropping of the test pipeline."""
    steps = [s for s in steps_of_pipeline(model.cfg) if 'Resize' in str(s['type'])]
    step: dict = steps[-1] if steps else {}
    scale = step.get('scale', size[0])
    height = scale if isinstance(scale, int) else scale[1]
    fraction = size[0] / height
    if math.floor(size[0] / fraction) < height:  # so timm computes the height
        fraction = math.nextafter(fraction, 0)
    by_edge = not steps or 'ResizeEdge' in str(step['type']) or step.get('keep_ratio')
    return dict(
        crop_pct=fraction,
        crop_mode='center' if by_edge else 'squash',
        interpolation=step.get('interpolation', 'bilinear'),
    )


def _difference(model: Any, network: Any, shape: tuple[int, ...], flips: bool) -> float:
    """Return the relative difference of the logits; ValueError if not by rounding."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected, found = model(x, mode='tensor'), network(x.flip(1) if flips else x)
    if hasattr(model, 'decode_head'):
        found = found.logits
        expected = F.interpolate(expected, x.shape[2:], mode='bilinear')
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference < 1e-4:
        raise ValueError(
            f'{type(network).__name__} computes something else than this '
            f'{type(model.backbone).__name__}: its logits differ by {difference:.1e}, '
            'so a setting is one that it lacks. Nothing was written.'
        )
    return difference
