"""A model with folded norms predicts what it did."""

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import segmentor_config
from torch import nn

from mmcosub.fast.convolutions import fold_norms


def unsettled(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, in float64, with norms unlike the identity."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.double().eval()


@pytest.mark.parametrize('prefix', ['', 'mmcosub.Fast'])
def test_segmentor(prefix: str) -> None:
    init_default_scope('mmseg')
    cfg = segmentor_config()
    head = cfg['decode_head']
    model = unsettled(
        MODELS.build({**cfg, 'decode_head': {**head, 'type': prefix + head['type']}})
    )
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    before = model(images)
    norms = [m for m in model.decode_head.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert fold_norms(model.decode_head) == len(norms)
    for module in model.decode_head.modules():
        assert not isinstance(module, nn.BatchNorm2d)
    torch.testing.assert_close(model(images), before, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    'options',
    [
        dict(order=('norm', 'conv', 'act')),
        dict(norm_cfg=dict(type='GN', num_groups=2)),
        dict(norm_cfg=None),
        dict(norm_cfg=dict(type='BN', affine=False)),
        dict(with_spectral_norm=True),
        dict(norm_cfg=dict(type='BN', track_running_stats=False)),
    ],
)
def test_other_modules_stay(options: dict) -> None:
    module = ConvModule(4, 4, 3, **{'norm_cfg': dict(type='BN'), **options})
    assert fold_norms(module.eval()) == 0


def test_hooked_convolutions_stay() -> None:
    module = ConvModule(4, 4, 3, norm_cfg=dict(type='BN'))
    module.conv.register_forward_hook(lambda *args: None)
    assert fold_norms(module) == 0


def test_a_convolution_with_several_norms_stays() -> None:
    one, other = (ConvModule(3, 4, 1, norm_cfg=dict(type='BN')) for _ in range(2))
    other.conv = one.conv
    model = unsettled(nn.ModuleList([one, other]))
    image = torch.randn(1, 3, 5, 5, dtype=torch.float64)
    before = [module(image) for module in model]
    assert fold_norms(model) == 0
    assert all(map(torch.equal, before, (module(image) for module in model)))
