"""Schemes and models by name. Imports neither torch nor MMEngine."""

from pathlib import Path

import mmcosub

RUNNER = 'mmcosub.CoTrainingRunner'
WRAPPERS = {
    'EncoderDecoder': 'mmcosub.CoTrainingEncoderDecoder',
    'CascadeEncoderDecoder': 'mmcosub.CoTrainingCascadeEncoderDecoder',
    'ImageClassifier': 'mmcosub.CoTrainingImageClassifier',
    'TimmClassifier': 'mmcosub.CoTrainingTimmClassifier',
}


def packaged(name: str) -> Path:
    """Folder that comes with the package: ``configs`` or ``tools``."""
    package = Path(mmcosub.__file__).parent
    shipped = package / '.mim' / name
    # A checkout made without symbolic links has them only beside the package.
    return shipped if shipped.is_dir() else package.parent / name


def packaged_configs() -> Path:
    """Folder of the configs that come with the package."""
    return packaged('configs')


def list_schemes() -> dict[str, Path]:
    """The schemes that come with the package: config fragment by name."""
    folder = packaged_configs() / '_base_' / 'schemes'
    return {path.stem: path for path in sorted(folder.glob('*.py'))}
