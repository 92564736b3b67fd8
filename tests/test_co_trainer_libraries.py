"""Models of segmentation_models_pytorch and Transformers in a plain loop.

They are tiny, random, and in float64. A library that is not installed is skipped.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from documented import blocks, section
from plain_models import gradients, timm_model
from torch import Tensor, nn
from torchvision.models.mobilenetv3 import mobilenet_v3_small
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.vision_transformer import VisionTransformer

from mmcosub import CoTrainer
from mmcosub.submodels import are_drop_paths, is_drop_path, plan_generator

pytestmark = pytest.mark.filterwarnings('ignore')  # of the libraries

RATE = 0.4
PYRAMID = dict(
    hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], num_attention_heads=[1, 2, 3, 4]
)
VIT = dict(
    hidden_size=16,
    num_hidden_layers=4,
    num_attention_heads=2,
    intermediate_size=32,
    image_size=32,
    patch_size=8,
)
WINDOWS = dict(
    image_size=32, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[1, 2],
    window_size=4,
)  # fmt: skip
STAGES = ['stage1', 'stage2', 'stage3', 'stage4']

# Class of Transformers: settings of its config. True: its blocks are known.
TRANSFORMERS: dict[str, tuple[dict[str, Any], bool]] = {
    'ViTForImageClassification': (VIT, True),
    'DeiTForImageClassification': (VIT, True),
    'Dinov2ForImageClassification': ({**VIT, 'drop_path_rate': RATE}, True),
    'Dinov2WithRegistersForImageClassification': (
        {**VIT, 'drop_path_rate': RATE},
        True,
    ),
    'BeitForImageClassification': ({**VIT, 'drop_path_rate': RATE}, False),
    'BeitForSemanticSegmentation': (
        {**VIT, 'drop_path_rate': RATE, 'out_indices': [1, 2, 3, 4]}
        | {'use_auxiliary_head': False},
        False,
    ),
    'SwinForImageClassification': ({**WINDOWS, 'drop_path_rate': RATE}, False),
    'Swinv2ForImageClassification': ({**WINDOWS, 'drop_path_rate': RATE}, False),
    'ConvNextForImageClassification': (
        {**PYRAMID, 'drop_path_rate': RATE, 'layer_scale_init_value': 1.0},
        False,
    ),
    'SegformerForImageClassification': ({**PYRAMID, 'drop_path_rate': RATE}, True),
    'SegformerForSemanticSegmentation': (
        {**PYRAMID, 'drop_path_rate': RATE, 'decoder_hidden_size': 16},
        True,
    ),
    'DPTForSemanticSegmentation': (
        {**VIT, 'backbone_out_indices': [0, 1, 2, 3], 'fusion_hidden_size': 8}
        | {'neck_hidden_sizes': [8, 8, 8, 8], 'use_auxiliary_head': False},
        True,
    ),
}
# Of segmentation_models_pytorch: decoder and encoder.
SMP = {
    'Unet resnet18': True,
    'DeepLabV3Plus mobilenet_v2': True,
    'Unet efficientnet-b0': True,
    'Segformer mit_b0': False,
    'FPN tu-convnext_atto': True,
}


class Encoder(nn.Module):
    """A ViT of PyTorch's layers."""

    def __init__(self, norm_first: bool, num_classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        layer = nn.TransformerEncoderLayer(
            16, 2, 32, 0.0, batch_first=True, norm_first=norm_first
        )
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.layers(tokens).mean(1))


TORCHVISION = {
    'Classification by ViT': partial(VisionTransformer, 32, 8, 3, 2, 16, 32),
    'Classification by encoder layers': partial(Encoder, True),
    'Classification by encoder layers with norms behind': partial(Encoder, False),
    'Classification by Bottleneck': partial(ResNet, Bottleneck, [1, 1, 1, 1]),
    'Classification by MobileNetV3': partial(mobilenet_v3_small, dropout=0.0),
}
NAMES = [*TRANSFORMERS, *SMP, *TORCHVISION]


def build(name: str) -> nn.Module:
    """A model in training mode, without dropout."""
    torch.manual_seed(0)
    if name in TORCHVISION:
        model = TORCHVISION[name](num_classes=5)
    elif name in SMP:
        smp = pytest.importorskip('segmentation_models_pytorch')
        decoder, encoder = name.split()
        model = getattr(smp, decoder)(encoder, encoder_weights=None, classes=5)
        if encoder.startswith('efficientnet'):
            model.encoder._drop_connect_rate = 0.0
    else:
        library = pytest.importorskip('transformers')
        cls = getattr(library, name)
        model = cls(cls.config_class(**TRANSFORMERS[name][0], num_labels=5))
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return model.double().train()


def known(name: str) -> bool:
    return TRANSFORMERS[name][1] if name in TRANSFORMERS else SMP.get(name, True)


def batch(name: str, images: int = 4) -> tuple[Tensor, Tensor]:
    """Images and labels: classes of images, or of pixels."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(images, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (images,), generator=generator)
    if 'Classification' in name:
        return x, labels
    dense = labels.view(-1, 1, 1).repeat(1, 32, 32)
    dense[:, :9] = 255  # ignored
    return x, dense


class Resized(nn.CrossEntropyLoss):
    """Cross-entropy of logits at the size of the labels."""

    def __init__(self) -> None:
        super().__init__(ignore_index=255)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if labels.ndim == 3:
            logits = F.interpolate(logits, labels.shape[1:], mode='bilinear')
        return super().forward(logits, labels)


def logits_of(outputs: Any) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs.logits


# ---- against a reference ---------------------------------------------------------


def last_layer(site: Any) -> nn.Module:
    """The module whose output is added to the shortcut, of a block without DropPath."""
    block = site.block
    for name in ('_bn2', 'bn3', 'bn2', 'conv', 'block'):
        if hasattr(block, name):
            return getattr(block, name)
    if hasattr(block, 'self_attn'):
        attends = site.branch.residual.__name__ == '_encoder_attention'
        return block.dropout1 if attends else block.dropout2
    if hasattr(block, 'ln_1'):
        attends = '_vit_attention' in str(site.branch.residual)
        return block.dropout if attends else block.mlp
    if hasattr(block, 'intermediate'):  # DPT
        attends = site.branch.residual.__name__ == '_attention'
        return block.attention if attends else block.output.dense
    return block.dropout


def reference(model: nn.Module, trainer: CoTrainer, name: str) -> Tensor:
    """The loss by masking every branch of the unchanged model, view by view."""
    x, labels = batch(name)
    rng = plan_generator(3, trainer.plans_drawn)
    plan = trainer.scheme.draw(trainer.sites, len(x), rng)
    together = trainer.scheme.joint and any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()
    )
    logits: list[Tensor] = []
    for views in [[0, 1]] if together else [[0], [1]]:
        factors: dict[nn.Module, list[Tensor]] = {}
        for site, drawn in zip(trainer.sites, plan.multipliers[:, views], strict=True):
            masked = site.drop_path or last_layer(site)
            factors.setdefault(masked, []).append(torch.from_numpy(drawn).flatten())
        for masked, of_calls in factors.items():
            plain = is_drop_path(masked) or isinstance(masked, nn.Identity)
            inner = nn.Identity() if plain else masked.forward
            masked.forward = partial(scaled, inner, iter(of_calls))
        z = logits_of(model(x.repeat(len(views), 1, 1, 1)))
        logits += z.chunk(len(views))
        for masked in factors:
            del masked.forward
    ce = [Resized()(z, labels) for z in logits]
    soft = [distilled(*pair, labels) for pair in (logits, logits[::-1])]
    if trainer.scheme.joint:  # cosub
        return sum(0.7 * a + 0.3 * b for a, b in zip(ce, soft, strict=True)) / 2
    return (ce[0] + soft[1]) / 2  # augpath


def scaled(inner: Callable, factors: Any, *args: Any, **kwargs: Any) -> Tensor:
    y = inner(*args, **kwargs)
    return y * next(factors).view(-1, *[1] * (y.ndim - 1))


def distilled(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Soft cross-entropy, over what has labels."""
    loss = -(teacher.detach().softmax(1) * student.log_softmax(1)).sum(1)
    if labels.ndim == 1:
        return loss.mean()
    weight = F.adaptive_avg_pool2d((labels != 255).double(), loss.shape[1:])
    return (weight * loss).sum() / weight.sum()


@pytest.mark.parametrize('scheme', ['cosub', 'augpath'])
@pytest.mark.parametrize('name', NAMES)
def test_against_a_reference(name: str, scheme: str) -> None:
    model, (x, labels) = build(name), batch(name)
    names = [*model.state_dict()]
    options = dict(weight=0.3) if scheme == 'cosub' else {}
    trainer = CoTrainer(model, scheme, drop_path_rate=RATE, seed=3, **options)
    trainer.loss(x, labels, Resized())  # finds the calls of DropPath modules
    assert are_drop_paths(trainer.sites) != known(name)
    expected = reference(model, trainer, name)
    expected_grads = gradients(model, expected)
    loss = trainer.loss(x, labels, Resized())
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    for a, b in zip(gradients(model, loss), expected_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    assert [*model.state_dict()] == names


# ---- in a loop -------------------------------------------------------------------


@pytest.mark.parametrize(
    'name',
    [
        'ViTForImageClassification',
        'SwinForImageClassification',
        'BeitForSemanticSegmentation',
        'SegformerForSemanticSegmentation',
        'Segformer mit_b0',
    ],
)
def test_learns_from_labels_and_without(name: str) -> None:
    model, (x, labels) = build(name).float(), batch(name)
    x = x.float()
    rate = dict(drop_path_rate=0.1)
    trainer = CoTrainer(model, seed=3, unlabelled=rate, **rate)
    optimizer = torch.optim.Adam(trainer.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = trainer.loss(x, labels, Resized())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3])
    before = trainer.state_dict()
    alone = trainer.loss(x, labels, Resized())
    trainer.load_state_dict(before)
    assert trainer.loss(x, labels, Resized(), (x[:2], x[:2] * 0.9)) > alone


@pytest.mark.parametrize(
    'name',
    [
        'ViTForImageClassification',
        'SwinForImageClassification',
        'SegformerForSemanticSegmentation',
    ],
)
def test_gradient_checkpointing(name: str) -> None:
    found = []
    for on in (False, True):
        model, (x, labels) = build(name), batch(name)
        if on:
            model.gradient_checkpointing_enable()
        trainer = CoTrainer(model, 'augpath', drop_path_rate=RATE, seed=3)
        found.append(gradients(model, trainer.loss(x, labels, Resized())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables of a launcher, and no state of accelerate left behind."""
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    yield
    if 'accelerate' in sys.modules:
        sys.modules['accelerate'].state.AcceleratorState._reset_state(True)


@pytest.mark.usefixtures('one_process')
def test_mixed_precision_and_resuming_by_accelerate(tmp_path: Path) -> None:
    library = pytest.importorskip('accelerate')
    model, (x, labels) = timm_model().float(), batch('Classification')
    exact = CoTrainer(model, seed=3).loss(x.float(), labels, nn.CrossEntropyLoss())
    accelerator = library.Accelerator(cpu=True, mixed_precision='bf16')
    trainer = CoTrainer(accelerator.prepare(model), seed=3)
    accelerator.register_for_checkpointing(trainer)
    losses = []
    for step in range(3):
        if step == 1:
            accelerator.save_state(tmp_path)
        elif step == 2:
            accelerator.load_state(tmp_path)
        losses.append(trainer.loss(x.float(), labels, nn.CrossEntropyLoss()))
    assert losses[0] != exact
    torch.testing.assert_close(losses[0], exact, rtol=0.02, atol=0)
    assert losses[2] == losses[1] != losses[0]


@pytest.mark.usefixtures('one_process')
def test_fabric() -> None:
    library = pytest.importorskip('lightning')
    model, (x, labels) = timm_model().float(), batch('Classification')
    x, fabric = x.float(), library.Fabric(accelerator='cpu', devices=1)
    losses = [
        CoTrainer(each, seed=3).loss(x, labels, nn.CrossEntropyLoss(), (x, x + 0.1))
        for each in (model, fabric.setup(model))
    ]
    assert torch.equal(*losses)


def test_key_of_a_model_output() -> None:
    model, (x, labels) = build('ViTForImageClassification'), batch('Classification')
    criterion = nn.CrossEntropyLoss()
    found = CoTrainer(model, drop_path_rate=RATE, seed=3).loss(x, labels, criterion)
    for key in ('logits', lambda out: out.logits):
        trainer = CoTrainer(model, drop_path_rate=RATE, seed=3, key=key)
        assert torch.equal(trainer.loss(x, labels, criterion), found)
    trainer = CoTrainer(model, drop_path_rate=RATE, key='hidden_states')
    with pytest.raises(ValueError, match=r'Set key='):
        trainer.loss(x, labels, criterion)


# ---- docs/libraries.md -----------------------------------------------------------


@pytest.mark.usefixtures('one_process')
@pytest.mark.parametrize(
    ('heading', 'packages', 'written'),
    [
        ('Transformers in a plain loop', ['transformers'], 'segformer/config.json'),
        ('Lightning', ['lightning', 'segmentation_models_pytorch'], 'lightning_logs'),
        ('accelerate', ['accelerate'], 'state/custom_checkpoint_0.pkl'),
        ("Transformers' Trainer", ['transformers', 'accelerate'], 'vit/last'),
    ],
)
def test_recipe(
    heading: str,
    packages: list[str],
    written: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in packages:
        pytest.importorskip(package)
    (code,) = blocks(section('docs/libraries.md', f'## {heading}'), 'python')
    monkeypatch.chdir(tmp_path)
    if 'transformers' in packages:  # takes the folder `datasets` here for a package
        monkeypatch.setattr('transformers.trainer.is_datasets_available', bool)
    exec(compile(code, heading, 'exec'), {'__name__': 'recipe'})
    assert (tmp_path / written).exists()
