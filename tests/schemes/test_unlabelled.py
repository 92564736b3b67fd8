"""The loss on unlabelled images against its formula, written out."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmcosub.schemes import Unlabelled
from mmcosub.schemes.cutmix import CutMix
from mmcosub.submodels import find_branches


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def maps(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope='module')
def sites() -> Any:
    from tiny import backbone

    return find_branches(backbone('mmpretrain ViT'))


def loss_of(
    method: Unlabelled,
    teacher: Tensor,
    students: list[Tensor],
    valid: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    strong = torch.zeros(len(teacher), 3, 8, 8)
    _, target, weight = method.mix(strong, teacher, valid, rng())
    return method.loss(students, target, weight, 0)


@pytest.mark.parametrize('shape', [(3, 5), (3, 5, 4, 4)])
@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_soft_targets(shape: tuple[int, ...], temperature: float) -> None:
    teacher, *students = (maps(*shape, seed=s) for s in range(3))
    method = Unlabelled(weight=0.7, temperature=temperature, cutmix=False)
    loss, logs = loss_of(method, teacher, students)
    target = (teacher / temperature).softmax(1)
    expected = sum(
        -(target * (z / temperature).log_softmax(1)).sum(1).mean() * temperature**2
        for z in students
    )
    torch.testing.assert_close(loss, 0.7 * expected / 2)
    agreement = sum((z.argmax(1) == teacher.argmax(1)).double() for z in students) / 2
    torch.testing.assert_close(logs['unlabelled_agreement'], agreement.mean())


def test_hard_targets_are_those_of_confident_pixels() -> None:
    teacher, student = 3 * maps(2, 4, 4, 4), maps(2, 4, 4, 4, seed=1)
    method = Unlabelled(threshold=0.8, cutmix=False)
    loss, logs = loss_of(method, teacher, [student])
    sure = teacher.softmax(1).amax(1) >= 0.8
    assert 0 < sure.sum() < sure.numel()
    each = F.cross_entropy(student, teacher.argmax(1), reduction='none')
    torch.testing.assert_close(loss, (each * sure).mean())
    torch.testing.assert_close(logs['unlabelled_used'], sure.double().mean())


def test_binary_targets() -> None:
    teacher, student = maps(2, 1, 4, 4), maps(2, 1, 4, 4, seed=1)
    method = Unlabelled(cutmix=False)
    method.soft_loss.fit({'sigmoid'}, 'the test')
    loss, _ = loss_of(method, teacher, [student])
    expected = F.binary_cross_entropy_with_logits(student, teacher.sigmoid())
    torch.testing.assert_close(loss, expected)


def test_padding_does_not_count() -> None:
    teacher, student = maps(2, 5, 4, 4), maps(2, 5, 4, 4, seed=1)
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[:, :, 4:] = False
    loss, _ = loss_of(Unlabelled(cutmix=False), teacher, [student], valid=valid)
    left, _ = loss_of(Unlabelled(cutmix=False), teacher[..., :2], [student[..., :2]])
    torch.testing.assert_close(loss, left)


def test_cutmix_moves_images_and_coarser_maps_alike() -> None:
    images = maps(6, 3, 16, 24)
    mix = CutMix.draw(6, (4, 6), rng())
    coarse = F.avg_pool2d(images, 4)
    torch.testing.assert_close(F.avg_pool2d(mix(images), 4), mix(coarse))
    pasted = (mix(images) != images).any(1).double().mean((1, 2))
    # Half of the area, up to the grid.
    assert (pasted > 0.25).all()
    assert (pasted < 0.75).all()
    others = images.roll(mix.shift, 0)
    assert ((mix(images) == images) | (mix(images) == others)).all()


def test_students_see_the_mixed_image_and_learn_the_mixed_target() -> None:
    strong, method = maps(4, 3, 8, 8), Unlabelled()
    mixed, target, weight = method.mix(strong, strong[:, :2], None, rng())
    assert not torch.equal(mixed, strong)
    z = mixed[:, :2]
    loss, _ = method.loss([z], target, weight, 0)  # logits move with the pixels
    torch.testing.assert_close(loss, -(z.softmax(1) * z.log_softmax(1)).sum(1).mean())


def test_complementary_students_keep_each_branch_once(sites: Any) -> None:
    plan = Unlabelled(students='complementary').draw(sites, 200, rng())
    assert (plan.multipliers.sum(1) == 2).all()
    assert set(np.unique(plan.multipliers)) == {0, 2}
    kept = (plan.multipliers[:, 0] > 0).mean(1)
    assert np.abs(kept - 0.5).max() < 0.15


def test_other_students(sites: Any) -> None:
    assert (Unlabelled(students='full').draw(sites, 3, rng()).multipliers == 1).all()
    one = Unlabelled(students='submodel', drop_path_rate=0.25)
    plan = Unlabelled(drop_path_rate=0.25).draw(sites, 400, rng())
    assert plan.views == 2
    first = one.draw(sites, 400, rng())
    np.testing.assert_array_equal(first.multipliers, plan.multipliers[:, :1])
    np.testing.assert_allclose(plan.multipliers.mean(), 1, atol=0.05)
    assert not (plan.multipliers[:, 0] == plan.multipliers[:, 1]).all()


def test_ramp() -> None:
    method = Unlabelled(ramp_iters=4)
    assert [method.ramp(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(weight=0), 'unlabelled.weight=0'),
        (dict(students='half'), "'complementary'"),
        (dict(teacher='ema'), "'average'"),
        (dict(threshold=1.0), 'unlabelled.threshold'),
        (dict(momentum=0), 'unlabelled.momentum'),
        (dict(drop_path_rate=1.0), 'unlabelled.drop_path_rate'),
        (dict(students='full', drop_path_rate=0.1), 'has its own rate'),
        (dict(temperature=0), 'temperature'),
    ],
)
def test_settings_out_of_range(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Unlabelled(**settings)


def test_rates_of_zero() -> None:
    from tiny import backbone

    sites = find_branches(backbone('mmpretrain Swin', drop_path_rate=0.0))
    with pytest.raises(ValueError, match=r'unlabelled\.drop_path_rate'):
        Unlabelled().rates(sites)
