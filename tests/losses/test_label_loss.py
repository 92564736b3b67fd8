import pytest
import torch
from mmpretrain.models.losses import AsymmetricLoss

from mmcosub.losses import activations


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
