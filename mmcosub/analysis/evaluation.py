"""Repeated tests of a network as its submodels."""

import copy
from collections.abc import Callable
from typing import Any, SupportsFloat

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch.utils.data import Dataset, Subset

from mmcosub.engine import EvaluationRunner
from mmcosub.engine.data import configs_of_datasets

from .spread import evenly_spread

HEADLINES = ('mIoU', 'accuracy/top1')
"""Metrics that a network is judged by unless another is named."""

_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler')


def quiet_runner(cfg: Config) -> EvaluationRunner:
    """Return a runner for testing that logs warnings only.

    Args:
        cfg (Config): The config. It stays as it is.

    Raises:
        ValueError: If it has nothing to test on.
    """
    cfg = copy.deepcopy(cfg)
    missing = [k for k in ('test_dataloader', 'test_evaluator') if not cfg.get(k)]
    if missing:
        raise ValueError(
            f'The config has no {missing[0]}, so there is nothing to test.'
        )
    cfg.load_from, cfg.resume = None, False
    # The stock classes: what is measured is theirs, and a model whose norms are folded
    # takes no second checkpoint.
    cfg.fast = False
    cfg.log_level = 'WARNING'
    cfg.visualizer = None
    cfg.custom_hooks = []
    cfg.default_hooks = dict.fromkeys((*_HOOKS, 'checkpoint'))
    return EvaluationRunner.from_cfg(cfg)


class Evaluation:
    """Metrics of a config's evaluator on some images.

    Args:
        runner (EvaluationRunner): Has the model, the loader and the evaluator.
        dataset (Dataset, optional): What to test on. Defaults to None, what the config
            tests on.
        images (int, optional): How many of them, spread evenly. Defaults to None, all.
        metric (str, optional): The metric that counts. Defaults to None, the first of
            ``HEADLINES`` that there is.
    """

    def __init__(
        self,
        runner: EvaluationRunner,
        dataset: Dataset | None = None,
        images: int | None = None,
        metric: str | None = None,
    ) -> None:
        loop: Any = runner.test_loop
        self.runner = runner
        self.evaluator = loop.evaluator
        self.metric = metric
        self.loader = loader_of(runner, dataset, images)
        self.images = len(self.loader.dataset)

    @torch.inference_mode()
    def __call__(self, tick: Callable[[int], object] = lambda n: None) -> dict:
        """Test the runner's model in its current state.

        Args:
            tick (Callable): Told after each batch how many images it had. Defaults to
                nothing.

        Returns:
            dict[str, float]: The metrics that are a number.

        Raises:
            ValueError: If the one that counts is not among them.
        """
        model: Any = self.runner.model
        model.eval()
        for batch in self.loader:
            outputs = model.test_step(batch)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
            tick(len(outputs))
        found = self.evaluator.evaluate(self.images)
        # Not so a confusion matrix, or a list by class.
        numbers = [k for k, v in found.items() if _is_number(v)]
        metrics = {k: float(found[k]) for k in numbers}
        wanted = HEADLINES if self.metric is None else (self.metric,)
        self.metric = next((name for name in wanted if name in metrics), None)
        if self.metric is None:
            raise ValueError(
                f'The evaluator gives no {" and no ".join(wanted)} but '
                f'{sorted(metrics)}: name one of them by --metric.'
            )
        return metrics

    def score(self, tick: Callable[[int], object] = lambda n: None) -> float:
        """Return the main metric of the runner's model in its current state.

        Args:
            tick (Callable): See :meth:`__call__`.
        """
        metrics = self(tick)
        return metrics[str(self.metric)]


def _is_number(value: Any) -> bool:
    return isinstance(value, SupportsFloat) and np.ndim(value) == 0  # type: ignore


def loader_of(
    runner: EvaluationRunner, dataset: Dataset | None, images: int | None
) -> Any:
    """Return a loader like the config's test loader.

    Args:
        runner (EvaluationRunner): The runner.
        dataset (Dataset, optional): What to load. Defaults to None, what the config
            tests on.
        images (int, optional): How many images, spread evenly. Defaults to None, all.

    Raises:
        ValueError: If the number of images is not above 0.
    """
    loop: Any = runner.test_loop
    data: Any = loop.dataloader.dataset if dataset is None else dataset
    if images is not None and images < 1:
        raise ValueError(f'The number of images must be above 0, not {images}.')
    if dataset is None and (images is None or images >= len(data)):
        return loop.dataloader
    count = min(images or len(data), len(data))
    chosen = evenly_spread(len(data), count)
    cfg = {**runner.cfg.test_dataloader, 'dataset': Subset(data, chosen)}
    cfg['sampler'] = dict(type='DefaultSampler', shuffle=False)
    return runner.build_dataloader(cfg, seed=runner.seed)


def training_images(cfg: Config) -> Dataset:
    """Return the training images without augmentation.

    Args:
        cfg (Config): The config.

    Raises:
        ValueError: If it has no training images.
    """
    if not cfg.get('train_dataloader'):
        raise ValueError(
            'The config has no train_dataloader; --search test searches on what it '
            'tests on.'
        )
    found = next(configs_of_datasets(cfg.test_dataloader.dataset), None)
    dataset = copy.deepcopy(cfg.train_dataloader.dataset)
    for inner in configs_of_datasets(dataset):
        if found is not None:
            inner.pipeline = copy.deepcopy(found.pipeline)
    return DATASETS.build(dataset)
