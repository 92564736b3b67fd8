"""Run: its config, logs, checkpoint and how it was started."""

import ast
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcosub.config.setting_changes import flat_settings
from mmcosub.names import FACTS

from .records import Records, read_records

_FACTS = ('command', 'config', 'folder', 'git', 'seed', 'processes', 'devices',
          'versions', 'platform')  # fmt: skip


@dataclass
class Run:
    """Run as found in its work directory; ``facts`` are those of its last start."""

    name: str
    work_dir: Path
    cfg: Config
    config_file: Path
    records: Records
    facts: dict[str, Any]

    @cached_property
    def settings(self) -> dict[str, str]:
        """Flat settings, see :func:`flat_settings`."""
        return flat_settings(self.cfg)

    @property
    def method(self) -> str:
        """Scheme of the run, and if it has unlabelled images; 'baseline' without."""
        scheme = self.cfg.get('scheme')
        more = ' + unlabelled' if self.cfg.get('unlabelled') else ''
        return str(scheme['type']).rpartition('.')[2] + more if scheme else 'baseline'

    @property
    def model(self) -> str:
        """Names of the model's parts."""
        parts = (self.cfg.model.get(k) for k in ('backbone', 'decode_head', 'head'))
        last = [p[-1] if isinstance(p, list) else p for p in parts if p]
        names = [str(part['type']).rpartition('.')[2] for part in last]
        return ' + '.join(names) or str(self.cfg.model.type)


def read_run(work_dir: Path) -> Run:
    """Read a run, without executing code in its folder; ValueError if it is none."""
    if not work_dir.is_dir():
        raise ValueError(f'There is no work directory {work_dir}. Check the path.')
    file = _config_file(work_dir)
    cfg = read_settings(file)
    logger = (cfg.get('default_hooks') or {}).get('logger') or {}
    records = read_records(work_dir, logger.get('log_metric_by_epoch', True))
    return Run(
        name=work_dir.resolve().name,
        work_dir=work_dir,
        cfg=cfg,
        config_file=file,
        records=records,
        facts=_read_facts(records.starts[-1], cfg),
    )


def _config_file(work_dir: Path) -> Path:
    """Return the newest config that a run was trained with."""
    of_starts = sorted(work_dir.glob('*/vis_data/config.py'))
    trained = [f for f in of_starts if (f.parent / 'scalars.json').is_file()]
    dumped = sorted(work_dir.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if found := [*dumped, *trained]:
        return found[-1]
    raise ValueError(
        f'{work_dir} has no config (*.py), which MMEngine writes when a training '
        'starts: give the work directory of a training, not one of its folders.'
    )


def _read_facts(start: Path, cfg: Config) -> dict[str, Any]:
    """Read how a run was started; unknown facts are None."""
    facts: dict[str, Any] = dict.fromkeys(_FACTS)
    facts['seed'] = (cfg.get('randomness') or {}).get('seed')
    file = start / FACTS
    return {**facts, **(json.loads(file.read_text()) if file.is_file() else {})}


def read_settings(file: Path) -> Config:
    """Read the config that MMEngine wrote at the start of a training.

    A dump has only assignments of literals and of ``dict(...)``. ValueError for
    anything else, so that no code in the folder is executed.
    """
    settings = {}
    try:
        for line in ast.parse(file.read_text(encoding='utf-8')).body:
            match line:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    settings[name] = ast.literal_eval(_AsLiterals().visit(value))
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


class _AsLiterals(ast.NodeTransformer):
    """Replace what a dump has besides literals by literals."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        match node:
            case ast.Call(func=ast.Name(id='dict'), args=[], keywords=given):
                if all(each.arg for each in given):
                    keys: list = [ast.Constant(each.arg) for each in given]
                    return ast.Dict(keys, [self.visit(each.value) for each in given])
            case ast.Call(ast.Name('dict'), args=[ast.Dict() as of], keywords=[]):
                return self.visit(of)  # with keys that are not identifiers
        raise ValueError(f'line {node.lineno} has more than literals')

    def visit_Name(self, node: ast.Name) -> ast.expr:
        number = node.id in ('inf', 'nan')
        return ast.Constant(float(node.id)) if number else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.Constant(ast.unparse(node))  # a class, by its name
