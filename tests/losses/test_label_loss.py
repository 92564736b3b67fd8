import pytest
import torch
from mmpretrain.models.losses import AsymmetricLoss
from mmseg.models import losses as mmseg
from torch import nn

from mmcosub.losses import BinaryCrossEntropyLoss, activations, value_of_ones


@pytest.mark.parametrize(
    ('name', 'mode', 'expected'),
    [
        ('DiceLoss', 'binary', 'sigmoid'),
        ('DiceLoss', 'multilabel', 'sigmoid'),
        ('DiceLoss', 'multiclass', 'softmax'),
        ('JaccardLoss', 'binary', 'sigmoid'),
        ('LovaszLoss', 'multiclass', 'softmax'),
        ('TverskyLoss', 'binary', 'sigmoid'),
        ('FocalLoss', 'multiclass', 'sigmoid'),  # of each class against the others
    ],
)
def test_losses_of_smp(name, mode, expected):
    smp = pytest.importorskip('segmentation_models_pytorch')
    assert activations(getattr(smp.losses, name)(mode)) == {expected}


@pytest.mark.parametrize('kind', ['sigmoid', 'softmax'])
def test_asymmetric_loss_is_of_what_it_is_set_to(kind):
    loss = AsymmetricLoss(use_sigmoid=kind == 'sigmoid')
    assert activations(loss) == {kind}
    # It is so: one number added to all logits leaves a softmax what it is.
    z, target = torch.randn(2, 3), torch.eye(3)[:2]
    same = torch.allclose(loss(z + 1, target), loss(z, target))
    assert same == (kind == 'softmax')


def test_focal_loss_weights_its_only_channel():
    """On GPUs, as it does not run elsewhere with one channel."""
    loss = mmseg.FocalLoss(class_weight=[3.0])
    labels = torch.zeros(1, 1, 2, 2)
    assert value_of_ones(loss, torch.tensor(0.5), lambda: labels, 255, 1) == 1.5


class FocalLoss(nn.Module):
    """A loss of a softmax, by the name of one of a sigmoid."""


class DiceLoss(nn.CrossEntropyLoss):
    """A loss that inherits what it is of."""


def cross_entropy(z, y):
    """A function by the name of one of PyTorch's."""


def test_own_losses_are_not_taken_for_those_of_libraries():
    assert activations([FocalLoss(), cross_entropy]) == set()
    assert activations(DiceLoss()) == {'softmax'}


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_targets_of_half_precision_logits_are_not_rounded(dtype):
    z = torch.tensor([[1.0, -2.0, 0.5]])
    scores = torch.tensor([[0.5001, 0.4999, 0.3]])
    for threshold in (0.5, None):
        loss = BinaryCrossEntropyLoss(threshold)
        assert torch.equal(loss(z.to(dtype), scores), loss(z, scores))
    binary = BinaryCrossEntropyLoss(0.5)(z.to(dtype), scores)
    assert torch.equal(binary, BinaryCrossEntropyLoss()(z, torch.tensor([0])))
