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


def packaged_configs() -> Path:
    """Folder of the configs that come with the package."""
    package = Path(mmcosub.__file__).parent
    shipped = package / '.mim' / 'configs'
    # A checkout made without symbolic links has them only beside the package.
    return shipped if shipped.is_dir() else package.parent / 'configs'


def list_schemes() -> dict[str, Path]:
    """The schemes that come with the package: config fragment by name."""
    folder = packaged_configs() / '_base_' / 'schemes'
    return {path.stem: path for path in sorted(folder.glob('*.py'))}
