"""Backbones pretrained on pictures of one article each."""

import os
from pathlib import Path
from types import SimpleNamespace

import torch
from scene_models import classifier
from scenes import HELD_OUT, SceneData
from settings import SceneRun
from steps import class_samples, steps
from torch import nn

PRETRAINING = dict(batch=64, lr=2e-3, weight_decay=0.05)


def pretrain(run: SceneRun, data: SceneData, folder: Path, device: str) -> dict:
    """Weights of a pretrained backbone, made once for all runs that start from them.

    Args:
        run (SceneRun): The run.
        data (SceneData): The pictures.
        folder (Path): Where pretrained backbones are kept.
        device (str): Where to train.

    Returns:
        dict: The backbone's ``state_dict`` and its classifier's ``accuracy`` on the
        validation pictures.
    """
    settings = SimpleNamespace(iterations=run.pretrain_iterations, **PRETRAINING)
    network = run.network if run.scale == 1 else f'{run.network}x{run.scale}'
    parts = (network, run.pretrained, run.pretrain_rate, run.size, run.pictures)
    name = '-'.join(map(str, (*parts, run.pretrain_iterations, run.seed)))
    path = folder / f'{name}.pth'
    if path.is_file():
        return torch.load(path, weights_only=True, map_location='cpu')
    model = classifier(run).to(device)
    pictures = data.pictures('training', run.pictures, run.size)
    model.train()
    for _ in steps(model, pictures, class_samples, settings, run.seed):
        pass
    model.eval()
    held_out = data.pictures('validation', HELD_OUT, run.size)
    with torch.inference_mode():
        predicted = [
            model(model.data_preprocessor(dict(inputs=x))['inputs'], mode='tensor')
            for x in held_out.images.split(100)
        ]
    right = torch.cat(predicted).argmax(1).cpu() == held_out.labels
    result = dict(
        state_dict=model.backbone.state_dict(),
        accuracy=100 * float(right.float().mean()),
    )
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f'.{os.getpid()}')
    torch.save(result, partial)
    os.replace(partial, path)
    return result


def load(target: nn.Module, weights: dict) -> float:
    """Carry a backbone over, as ``--backbone`` does; the share of weights that it got.

    Args:
        target (Module): The segmentor's backbone.
        weights (dict): The pretrained backbone's.
    """
    import tempfile

    from mmcosub.checkpoints import load_backbone

    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'backbone.pth')
        torch.save({f'backbone.{k}': v for k, v in weights.items()}, file)
        return float(load_backbone(target, file).match)
