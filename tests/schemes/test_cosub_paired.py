"""Two views of a fraction of the images: on average, cosub's loss and gradients."""

from collections.abc import Callable, Iterator
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss
from plain_models import LABELS, TORCHVISION, images, timm_model, torchvision_model
from stock_settings import KINDS, batch, build
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub import CoTrainer
from mmcosub.schemes import Cosub
from mmcosub.submodels import plan_generator


class Chosen:
    """A generator of which the draws for the pairs are given."""

    def __init__(self, rounding: float, order: tuple, coins: tuple) -> None:
        self.rounding, self.order, self.coins = rounding, order, coins
        self.others = np.random.default_rng(3)

    def random(self, shape: Any = None) -> Any:
        return self.rounding if shape is None else self.others.random(shape)

    def permutation(self, number: int) -> np.ndarray:
        return np.array(self.order)

    def integers(self, high: int, size: int) -> np.ndarray:
        return np.array(self.coins)


def outcomes(size: int) -> Iterator[Chosen]:
    """All equally likely ones, where the mean number of pairs is n or n + 1/2."""
    coins = product(range(2), repeat=size)
    for draw in product((0.25, 0.75), permutations(range(size)), coins):
        yield Chosen(*draw)


def loss_and_gradients(
    model: Any, scheme: Cosub, draw: Any, loss: Callable[[], Tensor]
) -> list[Tensor]:
    """Of one step by a plan of our own."""
    plan = Cosub.draw
    scheme.draw = lambda sites, batch, rng: plan(scheme, sites, batch, draw)  # type: ignore
    model.zero_grad()
    value = loss()
    value.backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return [value.detach(), *found]


def assert_cosub_on_average(
    model: Any, scheme: Cosub, size: int, paired: float, loss: Callable[[], Tensor]
) -> None:
    given = Chosen(0.0, (0,) * size, (0,) * size)  # nothing more is drawn
    expected = loss_and_gradients(model, scheme, given, loss)
    scheme.paired = paired

    got = [loss_and_gradients(model, scheme, c, loss) for c in outcomes(size)]
    for want, *values in zip(expected, *got, strict=True):
        mean = torch.stack(values).mean(dim=0)
        torch.testing.assert_close(mean, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('execution', 'size', 'paired'),
    [
        *[(e, 2, 0.5) for e in ('plain', 'kept_rows', 'shared_prefix')],
        ('kept_rows', 1, 0.5),
        ('shared_prefix', 2, 0.25),
        ('kept_rows', 3, 0.5),
    ],
)
@pytest.mark.sweep(every=5)
def test_mean_over_what_is_paired_is_cosub(
    kind: str, execution: str, size: int, paired: float
) -> None:
    settings = dict(type='Cosub', weight=0.3, execution=execution, check_network=False)
    model = build(KINDS[kind](), settings)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()  # or images see each other
        if isinstance(module, CrossEntropyLoss):
            module.avg_non_ignore = True
    data = batch(model, size)
    for i, sample in enumerate(data['data_samples']):
        if 'gt_sem_seg' in sample:  # each image has another labelled fraction
            sample.gt_sem_seg.data[:, : 9 * (i + 1)] = 255

    def loss() -> Tensor:
        losses = model.loss(**data)
        return model.parse_losses(losses)[0]

    assert_cosub_on_average(model, model.scheme, size, paired, loss)


@pytest.mark.parametrize('name', ['ViT', *list(TORCHVISION)[:1]])
def test_mean_is_cosub_in_a_plain_loop(name: str) -> None:
    known = name == 'ViT'
    model = timm_model(name) if known else torchvision_model(name)
    model.eval().train()
    for module in model.modules():
        if isinstance(module, _BatchNorm | nn.Dropout):
            module.eval()
    trainer = CoTrainer(model, seed=3, weight=0.6)
    x = images(2)

    def loss() -> Tensor:
        return trainer.loss(x, LABELS[:2], nn.CrossEntropyLoss())

    assert_cosub_on_average(model, trainer.scheme, 2, 0.5, loss)


@pytest.mark.parametrize('execution', ['kept_rows', 'shared_prefix'])
def test_heads_run_on_three_rows_for_two_images(execution: str) -> None:
    settings = dict(type='Cosub', paired=0.5, execution=execution)
    model = build(KINDS['segmentor'](), settings)
    rows: list[int] = []
    for head in (model.decode_head, model.auxiliary_head):
        head.conv_seg.register_forward_hook(lambda m, x, y: rows.append(len(y)))
    losses = model.loss(**batch(model, 2))
    assert rows == [3, 3]
    work = float(model.telemetry['branch_work'])
    assert work < 0.76
    assert {'agreement', 'co_training', 'label_view1'} <= {*model.telemetry}
    assert losses['decode.loss_co_training'] > 0


def test_no_pair_at_all() -> None:
    """A batch of 1, half of the time: the label alone is learned from."""
    model = build(KINDS['classifier'](), dict(type='Cosub', paired=0.01))
    losses = model.loss(**batch(model, 1))
    assert losses['loss_co_training'] == 0
    assert 'agreement' not in model.telemetry
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in model.head.parameters())


@pytest.mark.parametrize('size', [1, 2, 5])
@pytest.mark.parametrize('paired', [0.3, 0.5, 0.9])
def test_each_image_is_paired_with_the_probability_asked_for(
    size: int, paired: float
) -> None:
    sites = CoTrainer(timm_model()).sites
    scheme = Cosub(drop_path_rate=0.4, paired=paired)
    rng, draws = plan_generator(0, 0), 4000
    plans = [scheme.draw(sites, size, rng) for _ in range(draws)]
    pairs = np.stack([plan.paired for plan in plans])
    error = 5 * np.sqrt(paired * (1 - paired) / draws)
    assert np.abs(pairs.mean(axis=0) - paired).max() < error
    assert {*pairs.sum(axis=1)} <= {np.floor(paired * size), np.ceil(paired * size)}
    for plan in plans[:50]:
        one, two = plan.multipliers[:, 0], plan.multipliers[:, 1]
        assert np.array_equal(one[:, ~plan.paired], two[:, ~plan.paired])
    # Each view alone still has drop path's distribution.
    kept = np.stack([plan.multipliers for plan in plans]) > 0
    assert np.abs(kept.mean(axis=0) - 0.6).max() < 5 * np.sqrt(0.24 / draws)


def test_one_is_what_cosub_has_always_drawn() -> None:
    sites = CoTrainer(timm_model()).sites
    plans = [
        Cosub(drop_path_rate=0.4, **more).draw(sites, 5, plan_generator(7, 3))
        for more in ({}, {'paired': 1}, {'paired': 0.5})
    ]
    assert np.array_equal(plans[0].multipliers, plans[1].multipliers)
    assert plans[1].paired is None
    assert plans[1].paired is None
    pairs = plans[2].paired
    assert np.array_equal(
        plans[0].multipliers[:, :, pairs], plans[2].multipliers[:, :, pairs]
    )


@pytest.mark.parametrize('paired', [0, -0.5, 1.1, float('nan')])
def test_other_fractions_are_refused(paired: float) -> None:
    with pytest.raises(ValueError, match=rf'paired must be in \(0, 1\], not {paired}'):
        Cosub(paired=paired)
