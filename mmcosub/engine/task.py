"""What the model of a config is for."""

from mmengine.config import Config


def classifies(cfg: Config) -> bool:
    """Whether the model classifies images rather than segments them.

    A decode head segments, whatever the scope; a model without one does what those of
    its scope do, and in a scope of a user's own it classifies.

    Args:
        cfg (Config): Config; its model may stand in a wrapper's ``module``.
    """
    model = cfg.model.get('module', cfg.model)
    return 'decode_head' not in model and cfg.get('default_scope') != 'mmseg'
