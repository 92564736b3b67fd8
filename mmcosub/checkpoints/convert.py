"""Conversion of checkpoints from one library to another."""

import re

import torch

from .adapt import fold_layer_scale, fold_patch_bias
from .by_names import network_in
from .formats.table import (
    Format,
    detect_format,
    find_format,
    known_formats,
    plain_name,
)
from .formats.target_networks import target_network
from .matching import some
from .positions import count_tokens, position_per_token
from .reading import read_weights
from .weights import State

TARGETS = ('mmpretrain', 'mmseg', 'timm', 'official')
"""Target libraries; 'official' is the code of the architecture's authors."""

_REGISTERS, _GATED = r'reg_token$', r'layers\.\d+\.ffn\.w\d+\.'
# Parts of a ViT, in mmpretrain's names, that a library's ViT does not have.
_WITHOUT = {
    'mmpretrain': _REGISTERS,
    'mmseg': f'{_REGISTERS}|{_GATED}',
    'official': f'{_REGISTERS}|{_GATED}',  # DeiT III
}


def convert_checkpoint(
    filename: str, target: str, trust: bool = False, which: str | None = None
) -> tuple[State, str, str]:
    """Convert the weights of a checkpoint; its format is detected.

    Args:
        filename (str): Checkpoint file or URL.
        target (str): One of 'mmpretrain' (an ``ImageClassifier``), 'mmseg' (the
            backbone of a segmentor), 'timm' and 'official'.
        trust (bool): Allow any Python object, which can execute code. Defaults to
            False.
        which (str, optional): 'ema' (averaged), 'model' (trained) or the name of a set
            of weights in the file. Defaults to None: the average if there is one.

    Returns:
        tuple: The weights, and the names of the formats before and after.

    Raises:
        ValueError: If the file cannot be read, its format is unknown, or the target has
            no such architecture or lacks some of its parts.
    """
    weights, _ = read_weights(filename, which, trust, option='--weights')
    weights = network_in(weights, with_head=True)
    if any(name.startswith('backbone.') for name in weights):
        # A classifier or segmentor: only the backbone and the head are converted.
        parts = ('backbone.', 'head.')
        weights = {k: v for k, v in weights.items() if k.startswith(parts)}
    weights = {plain_name(name): value for name, value in weights.items()}
    source = detect_format(weights)
    if source is None:
        raise ValueError(
            f'{filename} has an unknown format; it contains '
            f'{", ".join(sorted(weights)[:4])}, ...'
        )
    state = source.to_our_state(weights)
    if source.name in ('timm ViT', 'DeiT III') and target != 'timm':
        state = position_per_token(state)
    state = _with_head(state, source.family, target)
    if source.family == 'ViT' and target in _WITHOUT:
        _check_places(state, target, filename)
    if target == 'mmseg':
        state = _of_backbone(state, source.family)
    known = _format_of(source, target, state)
    product = known.from_our_state(state) if known else state
    if target in ('mmpretrain', 'mmseg'):
        product = {
            name if name.startswith('head.') else f'backbone.{name}': value
            for name, value in product.items()
        }
    if ' ' not in source.family:
        _check_product(state, product, known, source.family, target, filename)
    return product, source.name, known.name if known else f'{target} {source.family}'


def _with_head(state: State, family: str, target: str) -> State:
    """Rename a linear head to the one of the target's classifier."""
    averaged = 'ln2.weight' in state and 'ln1.weight' not in state
    plain = family != 'ViT' or (target == 'mmpretrain' and averaged)
    head = 'head.fc.' if plain else 'head.layers.head.'
    return {re.sub(r'^head\.(fc|layers\.head)\.', head, k): v for k, v in state.items()}


def _of_backbone(state: State, family: str) -> State:
    """Return the backbone's weights alone, as mmseg's class has them."""
    behind = re.compile(r'head|fc\.|mask_token|decoder|pooler')
    state = {k: v for k, v in state.items() if not behind.match(k)}
    if family == 'ViT':  # mmseg's has neither of the two
        state = fold_patch_bias(fold_layer_scale(state), count_tokens(state))
    if family in ('ViT', 'BEiT'):  # of averaged patches
        state = {k: v for k, v in state.items() if not k.startswith('ln2.')}
    return state


def _format_of(source: Format, target: str, state: State) -> Format | None:
    """Return the format to write; None for mmpretrain's names, used internally."""
    family, deep = source.family, 'stem.0.conv.weight' in state
    if family.startswith(f'{target} '):  # exists in one format only
        return source
    name = {
        ('official', 'ViT'): 'DeiT III',
        ('timm', 'ResNet'): 'timm ResNet, deep stem' if deep else 'ResNet',
        ('official', 'ResNet'): '' if deep else 'ResNet',
        ('mmseg', 'ResNet'): 'mmseg ResNet, deep stem' if deep else '',
    }.get((target, family), f'{target} {family}')
    if name in known_formats():
        return find_format(name)
    if target in ('mmpretrain', 'mmseg') and ' ' not in family:
        return None
    raise ValueError(
        f'{target} has no {family} that this could be converted to. To train from it '
        'no conversion is needed: tools/train.py CONFIG --backbone FILE.'
    )


def _check_product(
    state: State,
    product: State,
    known: Format | None,
    family: str,
    target: str,
    filename: str,
) -> None:
    """Load converted weights into the target's network, strictly."""
    library = target
    if target == 'official' and known:  # the authors' networks are in timm
        library, state = 'timm', known.to_our_state(product)
        in_timm = _format_of(known, library, state)
        product = in_timm.from_our_state(state) if in_timm else state
    try:
        network = target_network(state, family, library)
    except Exception:  # unsupported settings
        network = None
    if network is None:
        raise ValueError(f'{library} has no {family} of the variant in {filename}.')
    wanted = {k: v.shape for k, v in network.state_dict().items()}
    for name in wanted.keys() - product.keys():
        if name.endswith('num_batches_tracked'):  # not in older files
            product[name] = torch.tensor(0)
    wrong = {
        'has no place for': product.keys() - wanted.keys(),
        'would lack': wanted.keys() - product.keys(),
        'has other shapes of': {
            k for k, v in product.items() if k in wanted and v.shape != wanted[k]
        },
    }
    said = [f'{what} {some(sorted(names))}' for what, names in wrong.items() if names]
    if said:
        raise ValueError(
            f'{filename} does not convert to {library}: its {family} '
            f'{"; ".join(said)}. Nothing was written.'
        )


def _check_places(state: State, target: str, filename: str) -> None:
    homeless = [name for name in state if re.match(_WITHOUT[target], name)]
    if homeless:
        what = 'register tokens' if 'reg_token' in homeless else 'a gated MLP'
        whose = 'DeiT III' if target == 'official' else f"{target}'s ViT"
        raise ValueError(
            f'{filename} has {what}, for which {whose} has no place: '
            f'{", ".join(homeless[:4])}{", ..." if len(homeless) > 4 else ""}. '
            'Convert it with --to timm, or train from it as it is: tools/train.py '
            f'CONFIG --backbone {filename}, with a TIMMBackbone.'
        )
