"""Class activation maps, by grad-cam.

Shapes: ``N`` tokens, ``C`` channels, ``H, W`` of the image.
"""

from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.utils.dl_utils import is_norm
from torch import Tensor

from mmcosub.engine.prediction import read_image


def mean_logit(category: int, logits: Tensor) -> Tensor:
    """Return the mean logit of a class over its predicted pixels, to be explained."""
    if logits.ndim == 1:
        return logits[category]
    predicted = (logits.argmax(dim=0) == category).to(logits)
    return (logits[category] * predicted).sum() / predicted.sum().clamp(min=1)


def activation_map(
    model: Any,
    path: str,
    layer: str | None = None,
    category: int | None = None,
    method: str = 'GradCAM',
) -> tuple[np.ndarray, str, int]:
    """Return a map drawn over its image (H, W, 3) in BGR, the layer, and the class.

    By default of :func:`default_layer` and of the class of the largest logit or of most
    pixels. ``method`` is a class of grad-cam.
    """
    try:
        import pytorch_grad_cam as grad_cam
    except ImportError as error:
        raise ImportError(
            'Class activation maps need grad-cam: pip install --no-deps grad-cam ttach '
            '(its other requirements are here; opencv-python-headless would overwrite '
            'opencv-python)'
        ) from error
    image, batch = read_image(model, path)
    inputs = model.data_preprocessor(batch, False)['inputs']
    with torch.no_grad():
        logits = model(inputs)[0]
    classes = len(logits)
    if category is None:
        best = logits.argmax(dim=0).flatten()
        category = int(best.bincount(minlength=classes).argmax())
    if not 0 <= category < classes:
        raise ValueError(f'There is no class {category}: there are 0 to {classes - 1}.')
    name = layer or default_layer(model)
    modules = dict(model.named_modules())
    if name not in modules:
        near = ', '.join(key for key in modules if 'norm' in key or 'bn' in key)
        raise ValueError(f'There is no layer {name!r}. Norms are {near}.')
    cam_class = getattr(grad_cam, method, None)
    if not isinstance(cam_class, type):
        raise ValueError(
            f'grad-cam has no {method!r}; take GradCAM, GradCAMPlusPlus, ...'
        )
    as_map = partial(_as_map, ratio=inputs.shape[-1] / inputs.shape[-2])
    with cam_class(model, [modules[name]], reshape_transform=as_map) as cam:
        heat = cam(inputs, [partial(mean_logit, category)])[0]
    heat = cv2.resize(heat, image.shape[1::-1])
    shown = grad_cam.utils.image.show_cam_on_image(np.float32(image) / 255, heat)
    return shown, name, category


def default_layer(model: Any) -> str:
    """Return the backbone's last norm or, with a class token, that before attention.

    Later outputs of the other tokens do not reach the class token.
    """
    backbone = model.backbone
    norms = [n for n, m in backbone.named_modules(prefix='backbone') if is_norm(m)]
    if not norms:
        raise ValueError('The backbone has no norm to take: name a layer.')
    by_token = getattr(backbone, 'out_type', None) == 'cls_token'
    return norms[-3] if by_token and len(norms) > 2 else norms[-1]


def _as_map(tokens: Tensor, ratio: float) -> Tensor:
    """Reshape tokens (1, N, C) to (1, C, h, w); return maps unchanged."""
    if tokens.ndim == 4:
        return tokens
    count = tokens.shape[1]
    for extra in range(8):  # class token, distillation token, registers
        height = round(((count - extra) / ratio) ** 0.5)
        if height and (count - extra) % height == 0:
            width = (count - extra) // height
            if abs(width / height - ratio) < 0.05 * ratio:
                grid = tokens[:, extra:].unflatten(1, (height, width))
                return grid.permute(0, 3, 1, 2)
    raise ValueError(
        f'The layer puts out {count} tokens, which make no map of an image whose '
        f'width is {ratio:.2f} of its height. Name another layer.'
    )
