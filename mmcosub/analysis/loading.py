import copy
from typing import Any

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmcosub.checkpoints import load_for_prediction, read_checkpoint


def load_model(cfg: Config, checkpoint: str) -> tuple[nn.Module, dict]:
    """Build a config's stock model and load all that it predicts with.

    Args:
        cfg (Config): The config; no data are needed.
        checkpoint (str): Checkpoint file or URL.

    Returns:
        tuple: The model, on the CPU in evaluation mode, and what the checkpoint says of
        the classes that it was trained on.

    Raises:
        ValueError: If the checkpoint cannot be read or is not the model's.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model: Any = revert_sync_batchnorm(MODELS.build(copy.deepcopy(cfg.model)))
    content = read_checkpoint(checkpoint, trust=bool(cfg.get('trust_checkpoint')))
    load_for_prediction(model, content, checkpoint)
    model.eval()
    meta = content.get('meta')
    found = meta.get('dataset_meta') if isinstance(meta, dict) else None
    return model, dict(found or {})
