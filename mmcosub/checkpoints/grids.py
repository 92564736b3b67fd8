"""Grid of patches that a position embedding was made for."""

import ast
from typing import Any

from .reading import State
from .resizing import Grid


def inner_network(backbone: Any) -> Any:
    """Return the network inside wrappers of mmpretrain and timm."""
    inner = getattr(backbone, 'timm_model', backbone)
    return getattr(inner, 'model', inner)


def grid_of(backbone: Any) -> Grid | None:
    """Return the grid (height, width) of a backbone's position embedding."""
    inner = inner_network(backbone)
    grid = getattr(inner, 'patch_resolution', None)
    grid = grid or getattr(getattr(inner, 'patch_embed', None), 'grid_size', None)
    if grid is None and hasattr(inner, 'img_size') and hasattr(inner, 'patch_size'):
        size, patch = inner.img_size, inner.patch_size
        if isinstance(size, tuple | list) and isinstance(patch, int):
            grid = size[0] // patch, size[1] // patch
    return (int(grid[0]), int(grid[1])) if grid else None


def grid_of_checkpoint(checkpoint: dict, weights: State) -> Grid | None:
    """Return the training grid that a checkpoint records, if any.

    MMEngine stores the config as text; timm stores its script's arguments.

    Args:
        checkpoint (dict): The checkpoint.
        weights (dict[str, Tensor]): Its weights, for the patch size.
    """
    meta, args = checkpoint.get('meta'), checkpoint.get('args')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    projections = [v for k, v in weights.items() if 'patch_embed' in k and v.ndim == 4]
    patch: Any = projections[0].shape[-1] if projections else 16
    size: Any = getattr(args, 'input_size', None) or getattr(args, 'img_size', None)
    if isinstance(text, str):
        try:  # parsed, never executed
            values = _keywords(_assigned(ast.parse(text), 'model'), 'backbone')
            size = ast.literal_eval(values['img_size'])
            patch = ast.literal_eval(values.get('patch_size', ast.Constant(patch)))
        except (SyntaxError, ValueError, KeyError):  # not a config of such a network
            return None
    size = (size, size) if isinstance(size, int) else size
    if not isinstance(size, tuple | list) or not isinstance(patch, int):
        return None
    height, width = size[-2:]
    if height % patch or width % patch:  # depends on the padding
        return None
    grid = height // patch, width // patch
    # Positions may have been kept while only images were resized.
    counts = {v.shape[1] for k, v in weights.items() if 'pos' in k and v.ndim == 3}
    fits = any(count - grid[0] * grid[1] in (0, 1, 2) for count in counts)
    return grid if fits or not counts else None


def _assigned(module: ast.Module, name: str) -> ast.expr:
    for line in module.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == name:
            return line.value
    raise KeyError(name)


def _keywords(call: ast.expr, name: str) -> dict[str | None, ast.expr]:
    """Return the arguments of the call, such as ``dict(...)``, given as ``name``."""
    inner = {k.arg: k.value for k in getattr(call, 'keywords', [])}[name]
    return {k.arg: k.value for k in getattr(inner, 'keywords', [])}
