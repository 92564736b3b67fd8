"""Formats of ResNet and HRNet: mmpretrain's, mmseg's, torchvision's and timm's.

All have the same names, except V1c's and V1d's deep stem and a no-op pooling in V1d,
which mmpretrain leaves out.
"""

from mmcosub.checkpoints.reading import State

from .table import Format, register_format

_FIRST = 'layer1.0.downsample'


def _without_pooling(state: State) -> State:
    """Skip the no-op pooling in the first stage of timm's V1d."""
    if f'{_FIRST}.0.weight' in state or f'{_FIRST}.2.weight' not in state:
        return state
    return {_moved(name, -1): value for name, value in state.items()}


def _with_pooling(state: State) -> State:
    if 'layer2.0.downsample.2.weight' not in state:  # V1c
        return state
    return {_moved(name, 1): value for name, value in state.items()}


def _moved(name: str, by: int) -> str:
    if not name.startswith(_FIRST):
        return name
    number, _, rest = name.removeprefix(f'{_FIRST}.').partition('.')
    return f'{_FIRST}.{int(number) + by}.{rest}'


# Registered before ResNet, which has the same mark.
register_format(Format('HRNet', 'HRNet', marks=['stage2.0.branches.0.0.conv1']))

_STEM = ('stem.0.conv', 'stem.0.bn', 'stem.1.conv', 'stem.1.bn', 'stem.2.conv')
_HEAD = ('fc', 'head.fc')
_PLACES = (0, 1, 3, 4, 6)

register_format(
    Format(
        'mmseg ResNet, deep stem',
        'ResNet',
        marks=['stem.7', 'layer1.0.conv1'],
        names=[
            *((f'stem.{i}', ours) for i, ours in zip(_PLACES, _STEM, strict=True)),
            ('stem.7', 'stem.2.bn'),
        ],
        to_ours=_without_pooling,
        from_ours=_with_pooling,
    )
)
register_format(
    Format(
        'timm ResNet, deep stem',
        'ResNet',
        marks=['conv1.6', 'layer1.0.conv1'],
        names=[
            *((f'conv1.{i}', ours) for i, ours in zip(_PLACES, _STEM, strict=True)),
            ('bn1', 'stem.2.bn'),
            _HEAD,
        ],
        to_ours=_without_pooling,
        from_ours=_with_pooling,
    )
)
register_format(Format('ResNet', 'ResNet', marks=['layer1.0.conv1'], names=[_HEAD]))
_UNITS = (
    ('convolution', 'conv', 'downsample.0'),
    ('normalization', 'bn', 'downsample.1'),
)
register_format(
    Format(
        'Transformers ResNet',
        'ResNet',
        marks=['embedder.embedder.convolution', 'encoder.stages.0.layers.0.layer.0'],
        names=[
            *(
                (f'embedder.embedder.{theirs}', f'{ours}1')
                for theirs, ours, _ in _UNITS
            ),
            *(
                (f'encoder.stages.{i}.layers.{{}}.{a}', f'layer{i + 1}.{{}}.{b}')
                for i in range(4)
                for theirs, ours, shortcut in _UNITS
                for a, b in (
                    (f'shortcut.{theirs}', shortcut),
                    *((f'layer.{j}.{theirs}', f'{ours}{j + 1}') for j in range(3)),
                )
            ),
            ('classifier.1', 'head.fc'),
        ],
    )
)
