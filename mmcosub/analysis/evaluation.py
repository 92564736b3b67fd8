"""Repeated tests of a network as its submodels."""

import copy
from collections.abc import Callable
from typing import Any, SupportsFloat

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch.utils.data import Dataset, Subset

from mmcosub.datasets.viewing import evenly_spread
from mmcosub.engine import EvaluationRunner
from mmcosub.engine.data import configs_of_datasets

HEADLINES = ('mIoU', 'accuracy/top1')
"""Default main metrics, the first that exists."""

_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler')


def quiet_runner(cfg: Config) -> EvaluationRunner:
    """Return a runner for testing that logs warnings only.

    Args:
        cfg (Config): The config; not changed.

    Raises:
        ValueError: If it has no test data or evaluator.
    """
    cfg = copy.deepcopy(cfg)
    missing = [k for k in ('test_dataloader', 'test_evaluator') if not cfg.get(k)]
    if missing:
        raise ValueError(
            f'The config has no {missing[0]}, so there is nothing to test.'
        )
    cfg.load_from, cfg.resume = None, False
    # Use upstream classes: they are to be measured, and folded norms would not load a
    # second checkpoint.
    cfg.fast = False
    cfg.log_level = 'WARNING'
    cfg.visualizer = None
    cfg.custom_hooks = []
    cfg.default_hooks = dict.fromkeys((*_HOOKS, 'checkpoint'))
    return EvaluationRunner.from_cfg(cfg)


class Evaluation:
    """Metrics of a config's evaluator on some images.

    Args:
        runner (EvaluationRunner): Runner with the model, the loader and the evaluator.
        dataset (Dataset, optional): Test data. Defaults to None: the config's.
        images (int, optional): Number of images, evenly spread. Defaults to None: all.
        metric (str, optional): Main metric. Defaults to None: the first of
            ``HEADLINES`` that exists.
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
            tick (Callable): Called after each batch with its number of images. Defaults
                to nothing.

        Returns:
            dict[str, float]: The scalar metrics.

        Raises:
            ValueError: If the main metric is missing.
        """
        model: Any = self.runner.model
        model.eval()
        for batch in self.loader:
            outputs = model.test_step(batch)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
            tick(len(outputs))
        found = self.evaluator.evaluate(self.images)
        # Others are matrices or lists by class.
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
        dataset (Dataset, optional): The data. Defaults to None: the config's test data.
        images (int, optional): Number of images, evenly spread. Defaults to None: all.

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
