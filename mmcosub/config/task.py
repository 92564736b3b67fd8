"""Task of a config's model: segmentation or classification."""

from mmengine.config import Config


def classifies(cfg: Config) -> bool:
    """Return True if the model classifies images rather than segments them.

    A model with ``decode_head`` segments, one with ``head`` classifies. A model without
    either segments if the scope is mmseg's.

    Args:
        cfg (Config): Config; its model may be inside a wrapper's ``module``.
    """
    model = cfg.model.get('module', cfg.model)
    if 'decode_head' in model:
        return False
    return 'head' in model or cfg.get('default_scope') != 'mmseg'
