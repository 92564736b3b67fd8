"""Which soft loss a scheme takes, and how."""

import pytest
import torch

from mmcosub.losses import SOFT_LOSSES
from mmcosub.schemes.distillation import SoftLoss


@pytest.mark.parametrize('softmax', ['ce', 'kl'])
def test_auto_goes_with_the_label_loss_back_and_forth(softmax: str) -> None:
    loss = SoftLoss(softmax=softmax)
    for activations, name in (
        ({'softmax'}, softmax),
        ({'sigmoid'}, 'bce'),
        ({'softmax', 'sigmoid'}, softmax),
        (set(), softmax),
    ):
        loss.fit(activations, 'the label loss')
        assert loss.function is SOFT_LOSSES[name]
        assert loss.activation == ('sigmoid' if name == 'bce' else 'softmax')


@pytest.mark.parametrize(
    ('name', 'activation'), [('ce', 'sigmoid'), ('kl', 'sigmoid'), ('bce', 'softmax')]
)
def test_one_of_the_other_kind_is_refused(name: str, activation: str) -> None:
    loss = SoftLoss(name)
    loss.fit({'softmax', 'sigmoid'}, 'the label loss')
    loss.fit(set(), 'the label loss')
    with pytest.raises(ValueError, match=rf'scheme.loss={name!r}.*FocalLoss.*auto'):
        loss.fit({activation}, 'FocalLoss')


def test_the_temperature_is_its_own_or_that_of_a_call() -> None:
    student, teacher = torch.randn(2, 1, 3, 5)
    for own, called, taken in ((1.0, None, 1.0), (2.0, None, 2.0), (2.0, 3.0, 3.0)):
        expected = SOFT_LOSSES['ce'](student, teacher, taken)
        found = SoftLoss('ce', own)(student, teacher, called)
        torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match='temperature must be above 0, not 0'):
        SoftLoss(temperature=0)
    with pytest.raises(ValueError, match=r"loss must be one of .*'auto'.*, not 'mse'"):
        SoftLoss('mse')
