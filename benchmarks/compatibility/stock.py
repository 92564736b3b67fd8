"""The stock configs and networks that the table is of, without what needs files."""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

SIZE = 32


@dataclass(frozen=True)
class Case:
    """One model to co-train.

    Args:
        package (str): 'mmseg', 'mmpretrain' or 'timm'.
        group (str): Folder of the config, or file of the network.
        name (str): The config or the network.
    """

    package: str
    group: str
    name: str

    def model(self) -> ConfigDict:
        """Config of the stock model. Raises whatever keeps it from being read."""
        if self.package == 'timm':
            return ConfigDict(timm_classifier(self.name))
        path = configs(self.package) / self.name
        model = Config.fromfile(path).get('model')
        if model is None:
            raise ValueError('a config without a model')
        return ConfigDict(without_files(model.to_dict()))


def configs(package: str) -> Path:
    """Folder of a package's stock configs."""
    return Path(importlib.import_module(package).__path__[0]) / '.mim' / 'configs'


def config_cases(package: str) -> list[Case]:
    """Every stock config of a package."""
    root = configs(package)
    files = sorted(p.relative_to(root) for p in root.rglob('*.py'))
    files = [f for f in files if len(f.parts) > 1 and _is_config(root, f)]
    return [Case(package, f.parts[0], str(f)) for f in files]


def _is_config(root: Path, file: Path) -> bool:
    """Whether it is one of the package's own models, and no part of configs."""
    if '_base_' in file.parts or file.name.startswith('_'):
        return False
    return "'mmdet::" not in (root / file).read_text()  # a detector's


def timm_cases() -> list[Case]:
    """The smallest network of every file of timm that drops paths."""
    import timm.models

    cases = []
    for module in pkgutil.iter_modules(timm.models.__path__):
        source = Path(timm.models.__path__[0]) / f'{module.name}.py'
        names = timm.list_models(module=module.name)
        if source.is_file() and names and 'drop_path_rate' in source.read_text():
            cases.append(Case('timm', module.name, _smallest(names)))
    return cases


# Words in the names of small networks, smallest first.
_SMALL = [
    'test',
    'atto',
    'femto',
    'pico',
    'nano',
    'xxs',
    'xx_',
    '005',
    '002',
    '_ti_',
    'tiny',
    '_t0',
    'lite0',
    '_b0',
    'mini',
    '18',
    '26',
    '14',
    'xs_',
    'small',
    's12',
    '_s_',
    's24',
]


def _smallest(names: list[str]) -> str:
    """The smallest network by the look of its name, for none is built here."""
    # The blocks of these have no shortcut.
    names = [name for name in names if not name.startswith('test_efficientnet')]
    for word in _SMALL:
        found = [name for name in names if word in f'{name}_']
        if found:
            return min(found, key=len)
    return min(names, key=len)


def timm_classifier(name: str) -> dict:
    """A classifier of mmpretrain's over a network of timm's."""
    return dict(
        type='TimmClassifier',
        model_name=name,
        drop_path_rate=0.1,
        num_classes=10,
        loss=dict(type='CrossEntropyLoss'),
        data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3),
    )


def without_files(cfg: Any) -> Any:
    """A config without checkpoints to load and without what needs several GPUs."""
    if isinstance(cfg, dict):
        cfg = {
            key: without_files(value)
            for key, value in cfg.items()
            if key not in ('init_cfg', 'pretrained')
        }
        if cfg.get('type') in ('SyncBN', 'MMSyncBN'):
            cfg['type'] = 'BN'
        return cfg
    if isinstance(cfg, list | tuple):
        return type(cfg)(without_files(value) for value in cfg)
    return cfg
