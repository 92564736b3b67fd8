"""Repeated tests of a network as its submodels."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from torch.utils.data import Dataset, Subset

from mmcosub.datasets.image_files import evenly_spread
from mmcosub.engine import EvaluationRunner
from mmcosub.engine.data import configs_of_datasets

Ticker = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Progress display: ``with ticker(what, total) as tick: tick(n)``."""

_HEADLINES = ('mIoU', 'accuracy/top1')
_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler')


@contextmanager
def progress_bars() -> Iterator[Ticker]:
    """Show progress bars with remaining time, one below the other."""
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:

        @contextmanager
        def bar(what: str, total: int) -> Iterator[Callable[[int], object]]:
            task = progress.add_task(what, total=max(total, 1))
            yield lambda steps: progress.advance(task, steps)
            progress.update(task, completed=max(total, 1))

        yield bar


def quiet_runner(cfg: Config) -> EvaluationRunner:
    """Return a runner that logs warnings only; ValueError without test data."""
    cfg = copy.deepcopy(cfg)
    for key in ('test_dataloader', 'test_evaluator'):
        if not cfg.get(key):
            raise ValueError(f'The config has no {key}, so there is nothing to test.')
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
        self.runner = runner
        self.metric = metric
        self.loader = loader_of(runner, dataset, images)
        self.images = len(self.loader.dataset)

    @torch.inference_mode()
    def __call__(
        self, tick: Callable[[int], object] = lambda n: None
    ) -> dict[str, float]:
        """Test the model as it is; ``tick`` is given the size of each batch."""
        model: Any = self.runner.model
        loop: Any = self.runner.test_loop
        model.eval()
        for batch in self.loader:
            outputs = model.test_step(batch)
            loop.evaluator.process(data_samples=outputs, data_batch=batch)
            tick(len(outputs))
        found = loop.evaluator.evaluate(self.images)
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

    def score(self, tick: Callable[[int], object] = lambda n: None) -> float:
        """Return the main metric of the model as it is."""
        return self(tick)[str(self.metric)]


def loader_of(
    runner: EvaluationRunner, dataset: Dataset | None, images: int | None
) -> Any:
    """Return a loader like the config's test loader, see :class:`Evaluation`."""
    loop: Any = runner.test_loop
    data: Any = loop.dataloader.dataset if dataset is None else dataset
    if images is not None and images < 1:
        raise ValueError(f'The number of images must be above 0, not {images}.')
    if dataset is None and (images is None or images >= len(data)):
        return loop.dataloader
    subset = Subset(data, evenly_spread(len(data), images or len(data)))
    sampler = dict(type='DefaultSampler', shuffle=False)
    cfg = {**runner.cfg.test_dataloader, 'dataset': subset, 'sampler': sampler}
    return runner.build_dataloader(cfg, seed=runner.seed)


def training_images(cfg: Config) -> Dataset:
    """Return the training images without augmentation; ValueError if there are none."""
    if not cfg.get('train_dataloader'):
        raise ValueError(
            'The config has no train_dataloader; --search test searches on what it '
            'tests on.'
        )
    dataset = copy.deepcopy(cfg.train_dataloader.dataset)
    if found := next(configs_of_datasets(cfg.test_dataloader.dataset), None):
        for inner in configs_of_datasets(dataset):
            inner.pipeline = copy.deepcopy(found.pipeline)
    return DATASETS.build(dataset)
