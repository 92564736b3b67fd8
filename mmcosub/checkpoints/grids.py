"""Which grid of patches a position embedding is for."""

import ast
from typing import Any

from .resizing import Grid


def grid_of(backbone: Any) -> Grid | None:
    """Patches by height and width that a backbone's position embedding is for."""
    inner = getattr(backbone, 'timm_model', backbone)
    inner = getattr(inner, 'model', inner)
    grid = getattr(inner, 'patch_resolution', None)
    grid = grid or getattr(getattr(inner, 'patch_embed', None), 'grid_size', None)
    if grid is None and hasattr(inner, 'img_size') and hasattr(inner, 'patch_size'):
        size, patch = inner.img_size, inner.patch_size
        if isinstance(size, tuple | list) and isinstance(patch, int):
            grid = size[0] // patch, size[1] // patch
    return (int(grid[0]), int(grid[1])) if grid else None


def grid_of_config(checkpoint: dict) -> Grid | None:
    """That of the config that MMEngine keeps in a checkpoint as text, if any."""
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str):
        return None
    try:  # parsed, never run: the file may be anyone's
        values = _keywords(_assigned(ast.parse(text), 'model'), 'backbone')
        size = ast.literal_eval(values['img_size'])
        patch = ast.literal_eval(values.get('patch_size', ast.Constant(16)))
    except (SyntaxError, ValueError, KeyError):  # not a config of such a network
        return None
    if not isinstance(size, tuple | list) or not isinstance(patch, int):
        return None
    if size[0] % patch or size[1] % patch:  # more or fewer by how they are padded
        return None
    return size[0] // patch, size[1] // patch


def _assigned(module: ast.Module, name: str) -> ast.expr:
    for line in module.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == name:
            return line.value
    raise KeyError(name)


def _keywords(call: ast.expr, name: str) -> dict[str | None, ast.expr]:
    """Arguments of the call, such as ``dict(...)``, that is argument ``name``."""
    inner = {k.arg: k.value for k in getattr(call, 'keywords', [])}[name]
    return {k.arg: k.value for k in getattr(inner, 'keywords', [])}
