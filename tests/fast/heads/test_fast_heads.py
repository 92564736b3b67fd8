"""The fast heads compute what the stock ones do."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmcosub.fast.fused_conv import fused_conv
from mmcosub.fast.resized_cross_entropy import resized_cross_entropy
from mmcosub.registry import log_once


@pytest.fixture(autouse=True)
def own_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so few channels, levels would all be resized."""
    monkeypatch.setitem(fused_conv.__globals__, '_PRODUCT_COST', -1e9)


CHANNELS = (4, 6, 8, 10)
CLASSES = 4


def several(levels: int) -> dict:
    """Inputs of a head that takes this many levels."""
    return dict(in_channels=list(CHANNELS[:levels]), in_index=list(range(levels)))


HEADS: dict[str, dict] = {
    'UPerHead': dict(type='UPerHead', pool_scales=(1, 2, 3), **several(3)),
    'PSPHead': dict(type='PSPHead', pool_scales=(1, 2, 3), in_channels=6, in_index=1),
    'SegformerHead': dict(type='SegformerHead', **several(3)),
    'FCNHead': dict(type='FCNHead', in_channels=6, in_index=1),
}

VARIANTS: dict[str, dict] = {
    **HEADS,
    'UPerHead of one level': {**HEADS['UPerHead'], **several(1)},
    'UPerHead of two levels': {**HEADS['UPerHead'], **several(2)},
    'UPerHead of four levels': {**HEADS['UPerHead'], **several(4)},
    'UPerHead without norm': {**HEADS['UPerHead'], 'norm_cfg': None},
    'UPerHead of bare convolutions': {
        **HEADS['UPerHead'],
        'norm_cfg': None,
        'act_cfg': None,
    },
    'PSPHead of concatenated levels': {
        **HEADS['PSPHead'],
        **several(3),
        'input_transform': 'resize_concat',
    },
    'PSPHead of bare convolutions': {
        **HEADS['PSPHead'],
        'norm_cfg': None,
        'act_cfg': None,
    },
    'SegformerHead of one level': {**HEADS['SegformerHead'], **several(1)},
    'SegformerHead of four levels': {**HEADS['SegformerHead'], **several(4)},
    'SegformerHead without norm': {**HEADS['SegformerHead'], 'norm_cfg': None},
    'FCNHead without convolutions': {
        **HEADS['FCNHead'],
        'num_convs': 0,
        'channels': 6,
        'concat_input': False,
    },
}

LOSSES: dict[str, dict | list[dict]] = {
    'plain': dict(),
    'valid pixels': dict(avg_non_ignore=True),
    'class weights': dict(class_weight=[0.5, 2.0, 0.0, 1.25]),
    'weighted and named': dict(loss_weight=0.4, loss_name='loss_main'),
    'several': [
        dict(loss_weight=0.3),
        dict(class_weight=[2.1, 0.7, 1.0, 3.3], loss_name='loss_balanced'),
        dict(loss_weight=2.0, avg_non_ignore=True),
    ],
    'one in a list': [dict(loss_weight=0.3)],
    'not back-propagated': [dict(), dict(loss_name='shown')],
}


def heads(kind: str, **kwargs: Any) -> tuple[BaseDecodeHead, BaseDecodeHead]:
    """A fast head and the stock one with the same weights, in float64."""
    init_default_scope('mmseg')
    cfg = dict(
        channels=5,
        num_classes=CLASSES,
        dropout_ratio=0.3,
        norm_cfg=dict(type='BN'),
        align_corners=False,
    )
    cfg = {**cfg, **VARIANTS[kind], **kwargs}
    torch.manual_seed(0)
    stock = MODELS.build(cfg).double()
    for parameter in stock.parameters():
        nn.init.normal_(parameter, std=0.3)
    fast = MODELS.build({**cfg, 'type': f'mmcosub.Fast{cfg["type"]}'}).double()
    assert list(fast.state_dict()) == list(stock.state_dict())
    fast.load_state_dict(stock.state_dict(), strict=True)
    return fast, stock


def features(
    batch: int = 2, size: tuple[int, int] = (8, 6), dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Four levels of random features, each of half the resolution before."""
    generator = torch.Generator().manual_seed(1)
    maps = []
    for i, channels in enumerate(CHANNELS):
        shape = [-(-s // 2**i) for s in size]
        x = torch.randn(batch, channels, *shape, generator=generator)
        maps.append(x.to(dtype).requires_grad_())
    return maps


def samples(
    batch: int = 2, size: tuple[int, int] = (29, 23), ignored: float = 0.2
) -> list[SegDataSample]:
    """Label maps, a part of which is ignored."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(CLASSES, (batch, 1, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def softmax(losses: dict | list[dict]) -> dict | list[dict]:
    """Configs of the cross-entropy with these arguments."""
    if isinstance(losses, list):
        return [dict(type='CrossEntropyLoss', **loss) for loss in losses]
    return dict(type='CrossEntropyLoss', **losses)


def gradients(head: nn.Module, maps: Sequence[Tensor], value: Tensor) -> list:
    """Of the inputs and parameters, None for those that are not used."""
    inputs = [*maps, *head.parameters()]
    return list(torch.autograd.grad(value, inputs, allow_unused=True))


def assert_same(got: Sequence, expected: Sequence, **tolerance: float) -> None:
    """Tensors, or None, in the same places and with the same values."""
    tolerance = tolerance or dict(rtol=1e-8, atol=1e-9)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, **tolerance)


def assert_same_losses(
    fast: BaseDecodeHead, stock: BaseDecodeHead, data: list[SegDataSample]
) -> None:
    """The same dict of losses, and gradients of what is back-propagated."""
    maps = features()
    results, grads = [], []
    for head in (fast, stock):
        torch.manual_seed(0)  # of the dropout
        result = head.loss(maps, data, {})
        value = sum(v for name, v in result.items() if 'loss' in name)
        results.append(result)
        grads.append(gradients(head, maps, value))
        assert not result['acc_seg'].requires_grad
    got, expected = results
    assert list(got) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(
            got[name], value, rtol=1e-6 if name == 'acc_seg' else 1e-8, atol=1e-9,
            check_dtype=name != 'acc_seg', msg=name,
        )  # fmt: skip
    assert_same(*grads)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What fast heads log."""
    messages: list[str] = []
    monkeypatch.setattr(
        'mmcosub.registry.print_log',
        lambda message, logger: messages.append(message),
    )
    log_once.cache_clear()
    return messages


@pytest.mark.parametrize('kind', VARIANTS)
def test_same_weights_at_the_start(kind: str) -> None:
    weights = []
    for head in heads(kind):
        torch.manual_seed(3)
        head.init_weights()
        weights.append(list(head.state_dict().values()))
    assert_same(*weights, rtol=0, atol=0)


@pytest.mark.parametrize('kind', VARIANTS)
@pytest.mark.parametrize(
    ('size', 'align_corners'), [((16, 16), False), ((17, 11), False), ((13, 16), True)]
)
@pytest.mark.parametrize('way', ['chunks', 'at once'])  # of large maps, of small ones
@pytest.mark.filterwarnings('ignore:When align_corners=True')
def test_output(
    kind: str,
    size: tuple[int, int],
    align_corners: bool,
    way: str,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == 'chunks':
        monkeypatch.setitem(fused_conv.__globals__, '_CHUNK', 500)
    fast, stock = heads(kind, align_corners=align_corners)
    maps = features(batch=3, size=size)
    for training in (True, False):
        outs, grads = [], []
        for head in (fast, stock):
            torch.manual_seed(0)  # of the dropout
            out = head.train(training)(maps)
            weight = torch.linspace(-1, 2, out.numel()).double().view_as(out)
            outs.append(out)
            grads.append(gradients(head, maps, (out * weight).sum()))
        torch.testing.assert_close(*outs, rtol=1e-9, atol=1e-9)
        assert_same(*grads)
    assert_same(list(fast.buffers()), list(stock.buffers()))  # statistics of norms
    assert said == []


@pytest.mark.parametrize('kind', HEADS)
@pytest.mark.parametrize('training', [True, False])
def test_half_precision(kind: str, training: bool) -> None:
    fast, stock = (head.float().train(training) for head in heads(kind))
    maps = features(size=(16, 12), dtype=torch.float32)
    outs = []
    for head, dtype in (
        (stock, torch.float32),
        (fast, torch.bfloat16),
        (stock, torch.bfloat16),
    ):
        torch.manual_seed(0)  # of the dropout
        with torch.autocast('cpu', dtype, enabled=dtype == torch.bfloat16):
            outs.append(head(maps))
        assert outs[-1].dtype == dtype
    exact = outs.pop(0)
    errors = [(out - exact).norm() / exact.norm() for out in outs]
    assert errors[0] < 1.5 * errors[1] + 1e-3


@pytest.mark.parametrize('kind', HEADS)
@pytest.mark.parametrize(
    'meta',
    [
        dict(img_shape=(20, 18), pad_shape=(31, 21)),
        dict(img_shape=(20, 18)),
        dict(img_shape=torch.Size([19, 17]), pad_shape=(31, 21)),
    ],
    ids=['padded', 'not padded', 'slides'],
)
def test_prediction(kind: str, meta: dict) -> None:
    fast, stock = (head.eval() for head in heads(kind))
    with torch.no_grad():
        got, expected = (
            head.predict(features(), [meta] * 2, {}) for head in (fast, stock)
        )
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('kind', HEADS)
@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.filterwarnings('ignore:When align_corners=True')
def test_loss(kind: str, loss: str, align_corners: bool, said: list[str]) -> None:
    cfg = softmax(LOSSES[loss])
    fast, stock = heads(kind, loss_decode=cfg, align_corners=align_corners)
    assert_same_losses(fast, stock, samples())
    assert said == []


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('ignored', [0.0, 1.0])
def test_loss_of_all_pixels_and_of_none(loss: str, ignored: float) -> None:
    fast, stock = heads('FCNHead', loss_decode=softmax(LOSSES[loss]))
    assert_same_losses(fast, stock, samples(ignored=ignored))


@pytest.mark.parametrize('ignore_index', [-100, 1])
def test_loss_of_another_ignore_index(ignore_index: int) -> None:
    cfg = softmax(LOSSES['several'])
    fast, stock = heads('FCNHead', loss_decode=cfg, ignore_index=ignore_index)
    data = samples()
    for sample in data:
        labels = sample.gt_sem_seg.data
        labels[labels == 255] = ignore_index
    assert_same_losses(fast, stock, data)


def test_loss_at_a_lower_resolution_than_logits() -> None:
    fast, stock = heads('FCNHead', in_channels=4, in_index=0)
    assert_same_losses(fast, stock, samples(size=(5, 3)))


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('autocast', [False, True])
def test_loss_in_single_precision(loss: str, autocast: bool) -> None:
    fast, stock = heads('FCNHead', loss_decode=softmax(LOSSES[loss]))
    fast, stock = fast.float(), stock.float()
    logits = stock(features(dtype=torch.float32)).detach()
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        got, expected = (head.loss_by_feat(logits, samples()) for head in (fast, stock))
    assert list(got) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, msg=name)


@pytest.mark.parametrize('kind', HEADS)
@pytest.mark.parametrize(
    'change',
    [
        dict(sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=30)),
        dict(loss_decode=dict(type='DiceLoss')),
        dict(loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)),
        dict(loss_decode=dict(type='CrossEntropyLoss', reduction='sum')),
        dict(loss_decode=[dict(type='CrossEntropyLoss'), dict(type='DiceLoss')]),
    ],
    ids=['sampler', 'dice', 'sigmoid', 'sum', 'several'],
)
@pytest.mark.filterwarnings('ignore:``build_pixel_sampler`` would be deprecated')
def test_other_losses_are_computed_as_ever(
    kind: str, change: dict, said: list[str]
) -> None:
    fast, stock = heads(kind, **change)
    for _ in range(2):
        assert_same_losses(fast, stock, samples())
    assert len(said) == 1
    assert f'Fast{kind}: its loss is not' in said[0]


class _DoubledLoss(CrossEntropyLoss):
    """Not what its class in mmseg computes."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return 2 * super().forward(*args, **kwargs)


def test_a_subclass_of_the_loss_is_computed_as_ever(said: list[str]) -> None:
    fast, stock = heads('FCNHead')
    for head in (fast, stock):
        head.loss_decode.__class__ = _DoubledLoss
    assert_same_losses(fast, stock, samples())
    assert len(said) == 1


class _DoublingConv(nn.Conv2d):
    """Not what its class in PyTorch computes."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def other_conv(module: ConvModule) -> None:
    """Replace a convolution by one of another class."""
    module.conv.__class__ = _DoublingConv


def other_stride(module: ConvModule) -> None:
    """Take every second place only."""
    module.conv.stride = (2, 2)


def other_order(module: ConvModule) -> None:
    """Normalize after the activation."""
    module.order = ('conv', 'act', 'norm')


def hook(module: nn.Module) -> None:
    """Change what comes out by a hook."""
    module.register_forward_hook(lambda module, inputs, out: 3 * out)


def inner_hook(module: ConvModule) -> None:
    """Change what comes out of the convolution by a hook."""
    hook(module.conv)


def own_forward(module: ConvModule) -> None:
    """Change what comes out of the convolution by another forward."""
    plain = module.conv.forward
    module.conv.forward = lambda x: 2 * plain(x)


@pytest.mark.parametrize(
    ('kind', 'part'),
    [
        ('UPerHead', 'fpn_bottleneck'),
        ('UPerHead', 'bottleneck'),
        ('PSPHead', 'bottleneck'),
        ('SegformerHead', 'fusion_conv'),
    ],
)
@pytest.mark.parametrize(
    'change', [other_conv, other_stride, other_order, hook, inner_hook, own_forward]
)
def test_other_convolutions_are_computed_as_ever(
    kind: str, part: str, change: Any, said: list[str]
) -> None:
    fast, stock = heads(kind)
    maps = features()
    before = stock.eval()(maps)
    for head in (fast, stock):
        change(getattr(head.eval(), part))
    after = stock(maps)
    assert after.shape != before.shape or not torch.allclose(after, before)
    for _ in range(2):
        torch.testing.assert_close(fast(maps), after, rtol=1e-9, atol=1e-9)
    assert len(said) == 1
    assert 'stock computation' in said[0]


def change_classifier(head: Any, change: str) -> None:
    if change == 'class':
        head.conv_seg.__class__ = _DoublingConv
    elif change == 'no bias':
        head.conv_seg.bias = None
    elif change == 'another':
        head.dropout = nn.Dropout(0.3)
    else:
        hook(head.get_submodule(change))


@pytest.mark.parametrize(
    'change', ['class', 'no bias', 'another', 'conv_seg', 'dropout', 'loss_decode']
)
def test_another_classifier_is_computed_as_ever(change: str, said: list[str]) -> None:
    fast, stock = heads('FCNHead')
    for head in (fast, stock):
        change_classifier(head, change)
    assert_same_losses(fast, stock, samples())
    assert len(said) == 1


@pytest.mark.parametrize('kind', ['UPerHead', 'PSPHead'])
def test_hooks_of_the_pooling_are_called(kind: str, said: list[str]) -> None:
    fast, stock = heads(kind)
    for head in (fast, stock):
        head.psp_modules.register_forward_hook(
            lambda module, inputs, out: [3 * each for each in out]
        )
    assert_same_losses(fast, stock, samples())
    assert len(said) == 1


@pytest.mark.parametrize('kind', HEADS)
def test_no_images(kind: str) -> None:
    fast, stock = (head.eval() for head in heads(kind))
    maps = features(batch=0)
    out = fast(maps)
    assert out.shape == stock(maps).shape
    labels = torch.zeros(0, 16, 12, dtype=torch.long)
    total, _ = resized_cross_entropy(out, labels)
    total.backward()
    assert total == 0


@pytest.mark.parametrize(
    ('mode', 'align_corners'), [('nearest', None), ('bicubic', False)]
)
def test_other_interpolation_is_computed_as_ever(
    mode: str, align_corners: bool | None, said: list[str]
) -> None:
    fast, stock = heads(
        'SegformerHead', interpolate_mode=mode, align_corners=align_corners
    )
    for _ in range(2):
        assert_same_losses(fast, stock, samples())
    assert len(said) == 1
    assert f'it interpolates by {mode!r}' in said[0]


def test_each_reason_is_logged_once(said: list[str]) -> None:
    cfg = dict(type='DiceLoss')
    first, second = (heads('UPerHead', loss_decode=cfg)[0] for _ in range(2))
    other_conv(first.bottleneck)
    for head in (first, first, second, second):
        head.loss(features(), samples(), {})
    assert len(said) == 2
