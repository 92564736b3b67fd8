"""Settings and task of a config's model."""

import copy
from typing import Any

from mmengine.config import Config, ConfigDict

from mmcosub.names import type_name


def model_settings(cfg: Config) -> ConfigDict:
    """Return a config's model with its preprocessor, without ``pretrained``."""
    model = without_pretrained(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', copy.deepcopy(cfg.data_preprocessor))
    return model


def without_pretrained(settings: Any) -> Any:
    """Return a model's config, or a part of it, that loads no initial weights.

    timm's networks download them on construction, although a checkpoint replaces them.
    """
    if isinstance(settings, dict):
        kept = ConfigDict({k: without_pretrained(v) for k, v in settings.items()})
        # MMSegmentation's downloads them unless this is False.
        timm = type_name(kept) == 'TIMMBackbone'
        if timm or kept.get('pretrained'):
            kept['pretrained'] = False if timm or kept.pretrained is True else None
        return kept
    if isinstance(settings, list | tuple):
        return type(settings)(without_pretrained(each) for each in settings)
    return settings


def classifies(cfg: Config) -> bool:
    """Return True if the model, perhaps in a wrapper's ``module``, classifies images.

    A model with ``decode_head`` segments, one with ``head`` classifies. A model without
    either segments if the scope is mmseg's.
    """
    model = cfg.model.get('module', cfg.model)
    if 'decode_head' in model:
        return False
    return 'head' in model or cfg.get('default_scope') != 'mmseg'
