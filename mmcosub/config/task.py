"""Task of a config's model: segmentation or classification."""

from mmengine.config import Config


def classifies(cfg: Config) -> bool:
    """Return True if the model classifies images rather than segments them.

    A ``decode_head`` segments and a ``head`` classifies, whatever the scope. A model
    without either does what those of its scope do; in a user's own one it classifies.

    Args:
        cfg (Config): Config; its model may stand in a wrapper's ``module``.
    """
    model = cfg.model.get('module', cfg.model)
    if 'decode_head' in model:
        return False
    return 'head' in model or cfg.get('default_scope') != 'mmseg'
