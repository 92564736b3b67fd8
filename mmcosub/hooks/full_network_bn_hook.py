import copy
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import all_reduce
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmcosub.models.co_training import CoTraining
from mmcosub.registry import HOOKS
from mmcosub.resuming import unwrapped
from mmcosub.submodels import is_drop_path, temporarily


@HOOKS.register_module()
class FullNetworkBNHook(Hook):
    """Hook that re-estimates BatchNorm with the full network for validation.

    Training of random subnets leaves mixed statistics, so stimulative training (arXiv
    2210.04153, its code) re-estimates them. Here they are means over batches of the
    training set with its pipeline, from a separate loader. Frozen layers keep theirs.
    They are estimated as often as there are validations, and at the end.
    The default number of images is our choice.

    With ``EMAHook``, they are estimated for the averaged weights, which are validated
    and saved. With its ``update_buffers=True``, the trained weights get their own.

    Args:
        num_samples (int): Number of training images over all processes, 1 or more.
            Defaults to 1024.

    Raises:
        ValueError: If the number is not 1 or more.
    """

    # After EMAHook, and before CheckpointHook, which saves the statistics.
    priority = 'LOW'

    def __init__(self, num_samples: int = 1024) -> None:
        if num_samples < 1:
            raise ValueError(
                f'num_samples={num_samples} of FullNetworkBNHook must be 1 or more.'
            )
        self.num_samples = num_samples

    def after_train_epoch(self, runner: Runner) -> None:
        """Estimate in epoch-based training."""
        loop: Any = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop) and (
            self.every_n_epochs(runner, loop.val_interval)
            or self.is_last_train_epoch(runner)
        ):
            self._estimate(runner)

    def after_train_iter(self, runner: Runner, **batch: Any) -> None:
        """Estimate in iteration-based training."""
        loop: Any = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop) and (
            self.every_n_train_iters(runner, getattr(loop, 'val_interval', 1))
            or self.is_last_train_iter(runner)
        ):
            self._estimate(runner)

    def _estimate(self, runner: Runner) -> None:
        model: Any = unwrapped(runner.model)
        if not _layers(model):
            return
        loader = _own_loader(runner.train_dataloader, runner.iter)
        batches = -(-self.num_samples // (loader.batch_size * runner.world_size))
        count = min(batches, len(loader))
        images = count * loader.batch_size * runner.world_size
        runner.logger.info(f'Re-estimating BatchNorm statistics over {images} images')
        averages = [h.ema_model for h in runner.hooks if isinstance(h, EMAHook)]
        if all(average.update_buffers for average in averages):
            estimate_statistics(model, islice(loader, count))
        for average in averages:
            modules = zip(average.module.modules(), model.modules(), strict=True)
            for its, ours in modules:
                its.training = ours.training  # hooks may freeze
            estimate_statistics(average.module, islice(loader, count))
            if not average.update_buffers:  # checkpoints use the model's buffers
                layers = zip(_layers(model), _layers(average.module), strict=True)
                for old, new in layers:
                    old.load_state_dict(dict(new.named_buffers()), strict=False)


def estimate_statistics(model: Any, batches: Iterable) -> None:
    """Set the running statistics of a model's BatchNorms to their means over batches.

    The model is in training mode; no branch is dropped here. Layers that no batch
    passes, such as those of auxiliary heads, keep theirs.
    """
    layers = _layers(model)
    before = [copy.deepcopy(dict(layer.named_buffers())) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
    drops = [module for module in model.modules() if is_drop_path(module)]
    full_network = temporarily(drops, training=False)
    # Without momentum, BatchNorm takes the mean over all batches.
    with torch.no_grad(), full_network, temporarily(layers, momentum=None):
        for data in batches:
            data = model.data_preprocessor(data, True)
            if isinstance(model, CoTraining):
                # Upstream cannot run heads of masks or points without a loss.
                features = model.backbone(data['inputs'])
                model.view_logits(features, data['data_samples'], 1)
            else:
                model(**data)
    for layer, old in zip(layers, before, strict=True):
        if not layer.num_batches_tracked:
            layer.load_state_dict(old, strict=False)
        all_reduce(layer.running_mean, 'mean')
        all_reduce(layer.running_var, 'mean')


def _layers(model: nn.Module) -> list[Any]:
    """Return BatchNorms that track statistics and are not frozen."""
    return [
        m
        for m in model.modules()
        if isinstance(m, _BatchNorm) and m.training and m.running_mean is not None
    ]


def _own_loader(loader: DataLoader, seed: int) -> Any:
    """Return a separate loader of the same data."""
    dataset: Any = loader.dataset
    batch = loader.batch_size
    if batch is None:  # set by the batch sampler
        batch = getattr(loader.batch_sampler, 'batch_size', 1)
    sampler = DefaultSampler(dataset, shuffle=True, seed=seed)
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        # Keep at least one batch on each process.
        drop_last=len(sampler) >= batch,
        worker_init_fn=loader.worker_init_fn,
        generator=torch.Generator().manual_seed(seed),
    )
