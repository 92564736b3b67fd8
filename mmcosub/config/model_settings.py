"""Settings and task of a config's model, and building it without memory."""

import copy
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule

from mmcosub.names import type_name

from .unread import walk


def model_settings(cfg: Config) -> ConfigDict:
    """Return a config's model with its preprocessor, without ``pretrained``."""
    model = without_pretrained(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', copy.deepcopy(cfg.data_preprocessor))
    return model


def without_pretrained(settings: Any) -> Any:
    """Return a copy of a model's config that loads no initial weights.

    timm's networks download them on construction, although a checkpoint replaces them.
    """
    copied = ConfigDict(copy.deepcopy(settings))
    for _, part in [*walk(copied)]:
        if type_name(part) == 'TIMMBackbone':
            part['pretrained'] = False  # downloads them by default
        elif isinstance(part, dict) and (before := part.get('pretrained')):
            part['pretrained'] = False if before is True else None
    return copied


def classifies(cfg: Config) -> bool:
    """Return True if the model, perhaps in a wrapper's ``module``, classifies images.

    A model with ``decode_head`` segments, one with ``head`` classifies. A model without
    either segments if the scope is mmseg's.
    """
    model = cfg.model.get('module', cfg.model)
    if 'decode_head' in model:
        return False
    return 'head' in model or cfg.get('default_scope') != 'mmseg'


def last_head(cfg: Config) -> dict:
    """Return the settings of a config's head, of a cascade's last; {} without one."""
    heads = cfg.model.get('decode_head') or cfg.model.get('head') or {}
    return heads[-1] if isinstance(heads, list | tuple) else heads


@contextmanager
def without_memory() -> Iterator[None]:
    """Build models on the meta device, without memory for their weights."""
    # Networks read drop-path rates from a linspace tensor, which must have values.
    linspace, init_weights = torch.linspace, BaseModule.init_weights
    torch.linspace = functools.partial(linspace, device='cpu')
    # MMPretrain's LoRA initialises its weights on construction.
    BaseModule.init_weights = lambda self: None
    try:
        with torch.device('meta'):
            yield
    finally:
        torch.linspace, BaseModule.init_weights = linspace, init_weights
