import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmcosub.files import atomic_write

from .extraction import Extracted


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a record, a line for each entry and for each item of long lists.

    Args:
        content (Mapping): The record.
        path (Path): The file; its folder is created.
    """
    entries = [f' {json.dumps(k)}: {_in_lines(v)}' for k, v in content.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{\n' + ',\n'.join(entries) + '\n}\n')


def _in_lines(value: Any) -> str:
    if not isinstance(value, list) or not any(isinstance(v, dict) for v in value):
        return json.dumps(value)
    return '[\n' + ',\n'.join(f'  {json.dumps(each)}' for each in value) + '\n ]'


def read_json(path: Path) -> dict:
    """Read a record of a sweep.

    Args:
        path (Path): The file.

    Raises:
        ValueError: If there is no such file, or it is not such a record.
    """
    if not path.is_file():
        raise ValueError(f'There is no record {path}. submodel_sweep.py writes one.')
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is no JSON file ({error}).') from error
    if not isinstance(content, dict) or not content.get('points'):
        raise ValueError(f'{path} is no record of submodel_sweep.py: it has no points.')
    return content


def write_extracted(
    extracted: Extracted, out: Path, dataset_meta: dict, blocks: list[str]
) -> None:
    """Write a submodel's checkpoint, and its config beside it.

    Args:
        extracted (Extracted): The submodel.
        out (Path): The checkpoint; its folder is created.
        dataset_meta (dict): Classes and palette of the training data.
        blocks (list[str]): Names of its blocks in the full network.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    meta = dict(dataset_meta=dataset_meta, submodel_of_blocks=blocks)
    with atomic_write(out) as partial:
        torch.save(dict(meta=meta, state_dict=extracted.weights), partial)
    with atomic_write(out.with_suffix('.py')) as partial:
        partial.write_text(extracted.cfg.pretty_text)
