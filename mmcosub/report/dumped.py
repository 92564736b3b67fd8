"""Parser of configs dumped by MMEngine that executes no code."""

import ast
from pathlib import Path
from typing import Any

from mmengine.config import Config


def read_settings(file: Path) -> Config:
    """Read the config that MMEngine wrote at the start of a training.

    A dump has only assignments of literals and of ``dict(...)``. Everything else
    raises, so that no code in the folder is executed.

    Returns:
        Config: Equal to that of ``Config.fromfile``.

    Raises:
        ValueError: If the file is not such a dump.
    """
    settings = {}
    try:
        for line in ast.parse(file.read_text(encoding='utf-8')).body:
            match line:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    settings[name] = _value(value)
                case _:
                    raise ValueError(f'line {line.lineno} is no assignment')
        if not isinstance(settings.get('model'), dict):
            raise ValueError('it has no model=dict(...)')
        return Config(settings)
    except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ValueError(
            f'{file} is not the data that MMEngine dumps when a training starts '
            f'({reason}), and no file of a run is executed. Put back the '
            'vis_data/config.py that MMEngine wrote.'
        ) from error


def _value(node: ast.expr) -> Any:
    """Return the value of an expression: a literal, or ``dict`` with names."""
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords):
            return {_name(each): _value(each.value) for each in keywords}
        case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as of], keywords=[]):
            return _value(of)  # with keys that are not identifiers
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {ast.literal_eval(key or ''): _value(each) for key, each in pairs}
        case ast.List(elts=elements):
            return [_value(each) for each in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(each) for each in elements)
        case ast.Name(id='inf' | 'nan' as number):
            return float(number)
        case ast.Attribute():  # a class, by its name
            return ast.unparse(node)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id='inf')):
            return -float('inf')
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f'line {node.lineno} has more than literals') from error


def _name(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError(f'line {keyword.lineno} unpacks a dict')
    return keyword.arg
