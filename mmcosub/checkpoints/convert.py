"""Whole checkpoints from one code base to another."""

import re

from .adapt import fold_layer_scale, fold_patch_bias
from .formats import Format, detect_format, find_format, plain_name
from .prefixes import network_in
from .reading import State, read_weights

TARGETS = ('mmpretrain', 'mmseg', 'timm', 'official')
"""Code bases to convert to; 'official' is that of the architecture's authors."""

_REGISTERS, _GATED = r'reg_token$', r'layers\.\d+\.ffn\.w\d+\.'
# What a ViT may have, in our names, and that of a code base has no place for.
_WITHOUT = {
    'mmpretrain': _REGISTERS,
    'mmseg': f'{_REGISTERS}|{_GATED}',
    'official': f'{_REGISTERS}|{_GATED}',  # DeiT III
}


def convert_checkpoint(
    filename: str, target: str, trust: bool = False, which: str | None = None
) -> tuple[State, str, str]:
    """Translate a checkpoint's weights, the format of which is found out.

    Args:
        filename (str): Checkpoint file or URL.
        target (str): One of 'mmpretrain' (an ``ImageClassifier``), 'mmseg' (the
            backbone of a segmentor), 'timm' and 'official'.
        trust (bool): Whether the file may bring any Python object, and so run any
            code. Defaults to False.
        which (str, optional): 'ema' (averaged), 'model' (trained) or the name of a set
            of weights in the file. Defaults to None: the average if there is one.

    Returns:
        tuple: The weights, and the names of the formats before and after.

    Raises:
        ValueError: If the file cannot be read, its format is not known, or its
            architecture does not exist in the target's, or not with all its parts.
    """
    weights, _ = read_weights(filename, which, trust, option='--weights')
    weights = network_in(weights, with_head=True)
    if any(name.startswith('backbone.') for name in weights):
        # A classifier of mmpretrain or a segmentor, of which only this part has names.
        weights = {
            name: value
            for name, value in weights.items()
            if name.startswith(('backbone.', 'head.'))
        }
    weights = {plain_name(name): value for name, value in weights.items()}
    source = detect_format(weights)
    if source is None:
        raise ValueError(
            f'{filename} is of no known format; it has '
            f'{", ".join(sorted(weights)[:4])}, ...'
        )
    state = source.to_our_state(weights)
    if source.family == 'ViT' and target in _WITHOUT:
        _check_places(state, target, filename)
    if target == 'mmseg':
        return _for_mmseg(state, source), source.name, f'mmseg {source.family}'
    known = _format_of(source, target)
    state = known.from_our_state(state)
    if target == 'mmpretrain':
        inner = 'timm_model.' if known.name.startswith('timm') else ''
        state = {
            name if name.startswith('head.') else f'backbone.{inner}{name}': value
            for name, value in state.items()
        }
    return state, source.name, known.name


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


def _for_mmseg(state: State, source: Format) -> State:
    """The backbone alone, in the names of mmseg's class or of the one that it uses."""
    state = {k: v for k, v in state.items() if not k.startswith('head')}
    if source.family == 'ViT':  # mmseg's has neither of the two
        state = fold_patch_bias(fold_layer_scale(state))
        state = find_format('mmseg ViT').from_our_state(state)
    inner = 'timm_model.' if source.family.startswith('timm') else ''
    return {f'backbone.{inner}{name}': value for name, value in state.items()}


def _format_of(source: Format, target: str) -> Format:
    if source.family == source.name:  # exists in one format only
        return source
    name = f'{target} {source.family}'
    if name == 'official ViT':
        name = 'DeiT III'
    return find_format(name)
