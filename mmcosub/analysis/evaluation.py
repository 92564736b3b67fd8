"""Repeated tests of a network on some images."""

import copy
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch.utils.data import Dataset, Subset

from mmcosub.datasets.image_files import evenly_spread
from mmcosub.engine import EvaluationRunner
from mmcosub.engine.data import configs_of_datasets
from mmcosub.names import lower_is_better

_HEADLINES = ('mIoU', 'accuracy/top1')
_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler')


def quiet_runner(cfg: Config) -> EvaluationRunner:
    """Return a runner that logs warnings only; ValueError without test data."""
    cfg = copy.deepcopy(cfg)
    for key in ('test_dataloader', 'test_evaluator'):
        if not cfg.get(key):
            raise ValueError(f'The config has no {key}, so there is nothing to test.')
    cfg.load_from, cfg.resume = None, False
    # Upstream classes are to be measured.
    cfg.fast = False
    cfg.log_level = 'WARNING'
    cfg.visualizer = None
    cfg.custom_hooks = []
    cfg.default_hooks = dict.fromkeys((*_HOOKS, 'checkpoint'))
    return EvaluationRunner.from_cfg(cfg)


class Evaluation:
    """Metrics of a runner's model on some images of a dataset or else the test data.

    The main metric is mIoU or top-1 accuracy unless named.
    """

    def __init__(
        self,
        runner: EvaluationRunner,
        dataset: Dataset | None = None,
        images: int | None = None,
        metric: str | None = None,
    ) -> None:
        if images is not None and images < 1:
            raise ValueError(f'The number of images must be above 0, not {images}.')
        self.runner = runner
        self.metric = metric
        loop: Any = runner.test_loop
        self.loader, self.evaluator = loop.dataloader, loop.evaluator
        if dataset is not None or images is not None:
            data: Any = self.loader.dataset if dataset is None else dataset
            subset = Subset(data, evenly_spread(len(data), images or len(data)))
            sampler = dict(type='DefaultSampler', shuffle=False)
            cfg = {**runner.cfg.test_dataloader, 'dataset': subset, 'sampler': sampler}
            self.loader = runner.build_dataloader(cfg, seed=runner.seed)
        self.images = len(self.loader.dataset)

    @torch.inference_mode()
    def __call__(self) -> dict[str, float]:
        """Test the model as it is."""
        model: Any = self.runner.model
        model.eval()
        for batch in self.loader:
            outputs = model.test_step(batch)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
        found = self.evaluator.evaluate(self.images)
        # Others are matrices or lists by class.
        numbers = {k: v for k, v in found.items() if hasattr(v, '__float__')}
        metrics = {k: float(v) for k, v in numbers.items() if np.ndim(v) == 0}
        wanted = _HEADLINES if self.metric is None else (self.metric,)
        self.metric = next((name for name in wanted if name in metrics), None)
        if self.metric is None:
            raise ValueError(
                f'The evaluator gives no {" and no ".join(wanted)} but '
                f'{sorted(metrics)}: name one of them by --metric.'
            )
        return metrics

    def score(self) -> float:
        """Return the main metric of the model as it is, negative if lower is better."""
        value = self()[str(self.metric)]
        return -value if lower_is_better(str(self.metric)) else value


def training_images(cfg: Config) -> Dataset:
    """Return the training images without augmentation; ValueError if there are none."""
    if not cfg.get('train_dataloader'):
        raise ValueError('The config has no train_dataloader with images to search on.')
    dataset = copy.deepcopy(cfg.train_dataloader.dataset)
    if found := next(configs_of_datasets(cfg.test_dataloader.dataset), None):
        for inner in configs_of_datasets(dataset):
            inner.pipeline = copy.deepcopy(found.pipeline)
    return DATASETS.build(dataset)
