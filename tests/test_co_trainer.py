"""Co-training of any model in a plain PyTorch loop."""

import copy
import json
import subprocess
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import co_trainer_rank
import numpy as np
import pytest
import timm.loss
import torch
import torch.nn.functional as F
from documented import blocks, section
from launch import free_port
from mmengine.runner import turn_on_activation_checkpointing
from plain_models import (
    LABELS,
    TIMM,
    TORCHVISION,
    gradients,
    images,
    timm_model,
    torchvision_model,
)
from stock_settings import SCHEMES, build, classifier, segmentor
from torch import Tensor, nn
from torch.nn.parallel import DataParallel

from benchmarks.processes import context, finish
from mmcosub import CoTrainer
from mmcosub.schemes import AugDrop, Cosub, Objective
from mmcosub.schemes.unlabelled import STUDENTS
from mmcosub.submodels import (
    are_drop_paths,
    is_drop_path,
    plan_generator,
    run_submodels,
)

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')


@pytest.mark.slow
def test_block_of_the_docs(tmp_path: Path) -> None:
    """It runs where no package of OpenMMLab is installed."""
    (code,) = blocks(section('docs/python_api.md', '## Any PyTorch model'), 'python')
    hidden = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain')
    before = f'import sys\nsys.modules.update(dict.fromkeys({hidden}))\n'
    subprocess.run([sys.executable, '-c', before + code], cwd=tmp_path, check=True)
    model = timm.create_model('vit_tiny_patch16_224', num_classes=10)
    model.load_state_dict(torch.load(tmp_path / 'model.pth'), strict=True)


# ---- against the wrappers of mmpretrain and mmseg --------------------------------


class Plain(nn.Module):
    """A model of mmpretrain or mmseg as any other: images in, logits out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.neck = model.neck if model.with_neck else nn.Identity()
        self.heads = nn.ModuleDict()
        if hasattr(model, 'decode_head'):
            self.heads['out'] = model.decode_head
            self.heads['aux'] = model.auxiliary_head
        else:
            self.heads['logits'] = model.head

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.neck(self.backbone(x))
        return {name: head(features) for name, head in self.heads.items()}


def resized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    logits = F.interpolate(logits, labels.shape[1:], mode='bilinear')
    total = F.cross_entropy(logits, labels, ignore_index=255, reduction='sum')
    # mmseg adds it to the number of pixels, in float64 too.
    return total / ((labels != 255).sum().item() + torch.finfo(torch.float32).eps)


@pytest.mark.parametrize('scheme', [s for s in SCHEMES if s != 'augmask'])
@pytest.mark.parametrize('make', [classifier, segmentor], ids=lambda f: f.__name__)
def test_same_loss_as_the_wrappers(scheme: str, make: Any) -> None:
    from stock_settings import batch

    settings = {'seed': 7, **SCHEMES[scheme]}
    if scheme == 'augdrop':  # so that dropout is of the same rows
        settings['execution'] = 'plain'
    cfg = make()
    extra: dict[str, Any] = {}
    if make is segmentor:
        for name in ('decode_head', 'auxiliary_head'):
            weight = 0.4 if name == 'auxiliary_head' else 1.0
            cfg[name]['loss_decode'] = dict(
                type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=weight
            )
        kind = 'kl' if scheme in ('gkt', 'stimulative') else 'ce'
        extra = dict(auxiliary={'aux': 0.4}, ignore_index=255, loss=kind)
    wrapped = build(cfg, settings)
    model = Plain(copy.deepcopy(wrapped)).train()
    data = batch(wrapped)
    samples = data['data_samples']
    criterion: Any = nn.CrossEntropyLoss()
    if make is segmentor:
        labels = torch.cat([sample.gt_sem_seg.data for sample in samples])
        criterion = resized_cross_entropy
    else:
        labels = torch.cat([sample.gt_label for sample in samples])
    ours = CoTrainer(model, settings, **extra)
    for _ in range(2):
        torch.manual_seed(3)
        total, _ = wrapped.parse_losses(wrapped.loss(**data))
        torch.manual_seed(3)
        loss = ours.loss(data['inputs'], labels, criterion)
        torch.testing.assert_close(loss, total, rtol=1e-12, atol=1e-12)
        for name in ('agreement', 'label_view0', 'co_training'):
            if name in wrapped.telemetry:
                expected = float(wrapped.telemetry[name])
                assert ours.logs[name] == pytest.approx(expected, abs=1e-9)
    expected_grads = gradients(wrapped, total)
    for a, b in zip(gradients(model, loss), expected_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


# ---- against a reference ---------------------------------------------------------


def reference(model: nn.Module, trainer: CoTrainer, weight: float) -> Tensor:
    """Cosub's loss, view by view, by the factors of every call of a drop path."""
    x, step = images(), trainer.plans_drawn
    plan = trainer.scheme.draw(trainer.sites, len(x), plan_generator(3, step))
    logits = []
    for v in range(2):
        factors: dict[nn.Module, list[Tensor]] = {}
        for site, drawn in zip(trainer.sites, plan.multipliers[:, v], strict=True):
            factors.setdefault(site.drop_path, []).append(torch.from_numpy(drawn))
        for module, of_calls in factors.items():
            left = iter(of_calls)
            module.forward = lambda y, left=left: (
                y * next(left).view(-1, *[1] * (y.ndim - 1))
            )
        logits.append(model(x))
        for module in factors:
            del module.forward
    total = torch.zeros((), dtype=torch.float64)
    for z, other in (logits, logits[::-1]):
        soft = -(other.detach().softmax(1) * z.log_softmax(1)).sum(1).mean()
        total = total + (1 - weight) * F.cross_entropy(z, LABELS) + weight * soft
    return total / 2


@pytest.mark.parametrize('name', ['ViT', 'ConvNeXt'])
def test_against_a_reference_in_timm(name: str) -> None:
    model = timm_model(name)
    for site in CoTrainer(model).sites:
        if not is_drop_path(site.drop_path):  # none in timm where the rate is 0
            owner, _, leaf = str(site.branch.drop_path).rpartition('.')
            setattr(site.block.get_submodule(owner), leaf, timm.layers.DropPath(0.4))
    compare_with_reference(model, CoTrainer(model, weight=0.3, seed=3))


@pytest.mark.parametrize('name', TORCHVISION)
def test_against_a_reference_in_torchvision(name: str) -> None:
    model = torchvision_model(name)
    trainer = CoTrainer(model, weight=0.3, seed=3)
    trainer.loss(images(), LABELS, nn.CrossEntropyLoss())  # the sites are called
    assert are_drop_paths(trainer.sites)
    compare_with_reference(model, trainer)


def compare_with_reference(model: nn.Module, trainer: CoTrainer) -> None:
    expected = reference(model, trainer, 0.3)
    expected_grads = gradients(model, expected)
    loss = trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(model, loss), expected_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('name', TIMM)
@pytest.mark.parametrize('scheme', sorted({*SCHEMES} - {'augdrop'}))
def test_every_scheme_by_every_execution(name: str, scheme: str) -> None:
    """The fastest execution computes what the plain one does, and only some learn."""
    settings = {'seed': 6, **SCHEMES[scheme]}
    done = []
    for execution in ('auto', 'plain'):
        model = timm_model(name)
        trainer = CoTrainer(model, settings, execution=execution)
        torch.manual_seed(3)
        loss = trainer.loss(images(size=64 if name != 'ViT' else 32), LABELS,
                            nn.CrossEntropyLoss())  # fmt: skip
        done.append([loss.detach(), *gradients(model, loss)])
        assert ('agreement' in trainer.logs) == (trainer.scheme.views > 1)
        assert timm_model(name).state_dict().keys() == model.state_dict().keys()
    for a, b in zip(*done, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


# ---- outputs and labels ----------------------------------------------------------


class ModelOutput(OrderedDict):
    """As that of Transformers: keys are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


torch.utils._pytree.register_pytree_node(
    ModelOutput,
    lambda x: ([*x.values()], [*x]),
    lambda values, names: ModelOutput(zip(names, values, strict=True)),
    serialized_type_name='tests.ModelOutput',
)


class Wrapped(nn.Module):
    """A model whose output is changed by a function."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.model = timm_model()
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.model(x))


@pytest.mark.parametrize(
    ('change', 'key'),
    [
        (lambda z: {'logits': z, 'features': z * 2}, None),
        (lambda z: {'out': z, 'aux': z * 2}, None),
        (lambda z: {'other': z}, None),
        (lambda z: {'a': z * 2, 'b': z}, 'b'),
        (lambda z: (z, z * 2), None),
        (lambda z: (z * 2, z), 1),
        (lambda z: [z * 2, {'z': z}], lambda out: out[1]['z']),
        (lambda z: ModelOutput(hidden=z * 2, logits=z), None),
        (lambda z: ModelOutput(hidden=z * 2, scores=z), 'scores'),
        (lambda z: SimpleNamespace(hidden=z * 2, scores=z), 'scores'),
        # Outputs without a row for each image.
        (lambda z: {'logits': z, 'loss': z.sum(), 'table': torch.ones(7, 3)}, None),
        (lambda z: [*z], torch.stack),
    ],
)
def test_outputs(change: Any, key: Any) -> None:
    plain = CoTrainer(Wrapped(lambda z: z), seed=3)
    expected = plain.loss(images(), LABELS, nn.CrossEntropyLoss())
    trainer = CoTrainer(Wrapped(change), seed=3, key=key)
    loss = trainer.loss(images(), LABELS, F.cross_entropy)
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    assert trainer.execution_of_plans() == 'shared_prefix'


def test_light_heads_have_the_classes_of_the_logits() -> None:
    found = []
    for model in (timm_model(), Wrapped(lambda z: {'logits': z})):
        torch.manual_seed(2)
        trainer = CoTrainer(model, 'collaboration', intermediate=0.5, seed=3)
        trainer.extras.double()
        found.append(trainer.loss(images(), LABELS, nn.CrossEntropyLoss()))
    assert torch.equal(*found)
    with pytest.raises(ValueError, match=r'no classifier .*scheme.intermediate=0'):
        CoTrainer(Wrapped(dense), 'collaboration', intermediate=0.5)


class Penalty(Objective):
    def losses(self, step: Any) -> dict[str, Tensor]:
        penalty = step.logits['head'][0].square().mean()
        return {'loss_size': self.weight * penalty, 'size': penalty}


class Penalised(Cosub):
    objectives = (Penalty(0.5),)


def test_own_objective() -> None:
    """As in MMEngine, what has no 'loss' in its name is not added."""
    trainers = [CoTrainer(timm_model(), cls, seed=3) for cls in (Cosub, Penalised)]
    plain, penalised = (
        each.loss(images(), LABELS, nn.CrossEntropyLoss()) for each in trainers
    )
    sites = trainers[1].sites
    plan = trainers[1].scheme.draw(sites, 4, plan_generator(3, 0))
    z, _ = run_submodels(trainers[1].model, images(), plan, sites, 'plain')
    torch.testing.assert_close(penalised - plain, 0.5 * z[:4].square().mean())


def test_a_map_of_the_tokens_of_a_vit_is_masked_in_pixels() -> None:
    class Map(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = TIMM['ViT'](num_classes=5, img_size=64, drop_path_rate=0.1)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.vit.head(self.vit.forward_features(x)[:, 1:])
            return tokens.transpose(1, 2).unflatten(2, (4, 4))

    trainer = CoTrainer(Map(), 'augmask', seed=3)
    seen = []
    trainer.model.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    x = images(size=64).float()
    trainer.loss(x, LABELS.view(4, 1, 1).repeat(1, 4, 4), nn.CrossEntropyLoss())
    clean, masked = seen[-2:]
    assert torch.equal(clean, x)
    assert not torch.equal(masked, x)


class CountsImages(nn.Module):
    """A head that goes by the number of images that came in."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.model = timm_model()
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        z = self.model(x)
        if self.fails:
            return z.view(len(x), 5)
        return z.reshape(len(x), -1, 5).mean(1) if len(z) % len(x) == 0 else z


@pytest.mark.parametrize('fails', [False, True])
def test_rows_are_not_shared_where_images_are_counted(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    plain = CoTrainer(timm_model(), seed=3)
    expected = plain.loss(images(), LABELS, nn.CrossEntropyLoss())
    assert plain.execution_of_plans() == 'shared_prefix'
    assert not caplog.messages
    trainer = CoTrainer(CountsImages(fails), seed=3)
    loss = trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert 'views share none' in caplog.text
    trainer = CoTrainer(CountsImages(fails), execution='shared_prefix')
    with pytest.raises(ValueError, match=r'cannot share rows in CountsImages'):
        trainer.loss(images(), LABELS, nn.CrossEntropyLoss())


def test_spectral_norm() -> None:
    model = timm_model()
    torch.nn.utils.parametrizations.spectral_norm(model.blocks[1].mlp.fc1)
    trainer = CoTrainer(model, seed=3)
    trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
    assert trainer.execution_of_plans() == 'shared_prefix'


class OwnNorm(nn.Module):
    """A normalisation over the batch that is no BatchNorm of PyTorch."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.var(0, correction=0) + 1)


def test_rows_of_an_own_batch_norm_are_not_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = []
    for execution in ('auto', 'plain'):
        model = timm_model()
        for block in model.blocks:
            block.norm2 = OwnNorm()
        trainer = CoTrainer(model, seed=3, execution=execution)
        found.append(trainer.loss(images(), LABELS, nn.CrossEntropyLoss()))
        assert trainer.execution_of_plans() == 'plain'
    assert torch.equal(*found)
    assert 'normalisation over the batch' in caplog.text
    assert caplog.text.count("scheme.execution='plain'") == 1


class Twice(nn.Module):
    """Two networks, in another order than they are listed, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = timm_model(), timm_model('ConvNeXt')

    def forward(self, x: Tensor) -> Tensor:
        return self.second(x) + self.first(x) + self.first(x.flip(-1))


def test_blocks_in_any_order() -> None:
    done = []
    for execution in ('auto', 'plain'):
        model = Twice().train()
        trainer = CoTrainer(model, seed=3, execution=execution)
        loss = trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
        done.append([loss.detach(), *gradients(model, loss)])
    for a, b in zip(*done, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_networks_that_do_not_run_are_named() -> None:
    model = timm_model()
    model.average = copy.deepcopy(model)
    trainer = CoTrainer(model)
    with pytest.raises(ValueError, match=r"'average.blocks.0', do not run"):
        trainer.loss(images(), LABELS, nn.CrossEntropyLoss())


@pytest.mark.parametrize(
    'change',
    [lambda z: {'a': z, 'b': z}, lambda z: 'text', lambda z: z[0], lambda z: z[:1]],
)
def test_logits_that_are_not_found(change: Any) -> None:
    trainer = CoTrainer(Wrapped(change))
    with pytest.raises(
        ValueError, match=r'Logits of shape .*Set key=|logits of 1 images for 8'
    ):
        trainer.loss(images(), LABELS, nn.CrossEntropyLoss())


def test_auxiliary_logits_that_are_not_found() -> None:
    trainer = CoTrainer(Wrapped(lambda z: {'out': z}), auxiliary={'aux': 0.4})
    with pytest.raises(ValueError, match=r"expected at 'aux'.*with \['out'\]"):
        trainer.loss(images(), LABELS, nn.CrossEntropyLoss())


def dense(z: Tensor) -> Tensor:
    """Logits of 4 by 4 places, of an image's."""
    return z[..., None, None] * torch.linspace(0.5, 2, 16).view(4, 4).to(z)


def test_dense_labels_and_ignored_positions() -> None:
    labels = torch.randint(0, 5, (4, 4, 4), generator=torch.Generator().manual_seed(0))
    labels[:, 1:] = 255
    labels[2] = 255
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    trainer = CoTrainer(Wrapped(dense), seed=3, weight=0.4)
    loss = trainer.loss(images(), labels, criterion)

    class OnlyLabelled(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            z = dense(z)[:, :, 0]  # (rows, C, 4)
            rows = torch.arange(len(z)) % 4 != 2
            return z[rows].transpose(1, 2).flatten(0, 1)

    # All labelled positions as if each was an image.
    alone = CoTrainer(Wrapped(lambda z: z), seed=3, weight=0.4)
    picked = OnlyLabelled()
    alone.key = lambda z: z
    plan = alone.scheme.draw(alone.sites, 4, plan_generator(3, 0))

    z, _ = run_submodels(alone.model, images(), plan, alone.sites, 'plain')
    one, two = (picked(part) for part in z.chunk(2))
    targets = labels[[0, 1, 3], 0].flatten()
    expected = sum(
        0.6 * F.cross_entropy(a, targets)
        - 0.4 * (b.detach().softmax(1) * a.log_softmax(1)).sum(1).mean()
        for a, b in ((one, two), (two, one))
    )
    torch.testing.assert_close(loss, expected / 2, rtol=1e-12, atol=1e-12)


def distillation_of(change: Any, labels: Tensor, criterion: Any, **options: Any) -> Any:
    trainer = CoTrainer(Wrapped(change), seed=3, **options)
    trainer.loss(images(), labels, criterion)
    return trainer.logs['co_training']


def dense_cross_entropy(z: Tensor, labels: Tensor) -> Tensor:
    labels = labels.view(len(labels), *labels.shape[-2:]).long()
    z = F.interpolate(z, labels.shape[1:])
    return F.cross_entropy(z, labels, ignore_index=255)


@pytest.mark.parametrize(
    'form',
    [lambda y: y, lambda y: y[:, None], lambda y: y.to(torch.uint8)[:, None]],
    ids=['classes', 'one channel', 'bytes'],
)
def test_ignored_labels_are_seen_in_any_form(form: Any) -> None:
    """Also where the criterion does not tell its ignore_index."""
    labels = LABELS.view(4, 1, 1).repeat(1, 4, 4)
    labels[:, 1:3] = 255
    known = nn.CrossEntropyLoss(ignore_index=255)
    expected = distillation_of(dense, labels, known)
    for options in ({}, dict(ignore_index=255)):
        found = distillation_of(
            dense, form(labels), dense_cross_entropy, loss='ce', **options
        )
        assert found == expected
    everything = dict(loss='ce', ignore_index=-1)
    assert distillation_of(dense, labels, dense_cross_entropy, **everything) != found


def test_ignored_labels_of_a_sigmoid() -> None:
    labels = (LABELS > 1).double().view(4, 1, 1, 1).repeat(1, 1, 4, 4)
    labels[:, :, 1:3] = 255

    def criterion(z: Tensor, y: Tensor) -> Tensor:
        y = y.view_as(z).double()
        return F.binary_cross_entropy_with_logits(z[y < 2], y[y < 2])

    def one(z: Tensor) -> Tensor:
        return dense(z[:, :1])

    options = dict(loss='bce', ignore_index=255)
    found = distillation_of(one, labels, criterion, **options)
    assert found == distillation_of(one, labels[:, 0].long(), criterion, loss='bce')


@pytest.mark.parametrize('dimensions', [1, 3])
def test_sequences_and_volumes_of_another_resolution(dimensions: int) -> None:
    def places(z: Tensor) -> Tensor:
        z = dense(z)
        return z[:, :, 0] if dimensions == 1 else z[:, :, None].repeat(1, 1, 4, 1, 1)

    def criterion(z: Tensor, y: Tensor) -> Tensor:
        z = F.interpolate(z, y.shape[1:])
        return F.cross_entropy(z, y, ignore_index=255)

    labels = LABELS.view(4, *[1] * dimensions).repeat(1, *[4] * dimensions)
    labels[:, 1:3] = 255
    fine = F.interpolate(labels[:, None].double(), scale_factor=2)[:, 0].long()
    found = [
        distillation_of(places, y, criterion, loss='ce', ignore_index=255)
        for y in (labels, fine)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-12)


def test_logits_with_the_classes_last_are_refused() -> None:
    labels = torch.zeros(4, 16, dtype=torch.long)

    def criterion(z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(z.flatten(0, 1), y.flatten())

    def tokens(z: Tensor) -> Tensor:
        return dense(z).flatten(2).movedim(1, -1)

    trainer = CoTrainer(Wrapped(tokens), loss='ce')
    with pytest.raises(ValueError, match=r'classes are last.*movedim\(-1, 1\)'):
        trainer.loss(images(), labels, criterion)


@pytest.mark.parametrize(
    ('criterion', 'labels', 'activation'),
    [
        (nn.CrossEntropyLoss(label_smoothing=0.1), LABELS, 'softmax'),
        (nn.CrossEntropyLoss(), F.one_hot(LABELS, 5).double(), 'softmax'),
        (partial(F.cross_entropy, label_smoothing=0.1), LABELS, 'softmax'),
        (timm.loss.LabelSmoothingCrossEntropy(), LABELS, 'softmax'),
        (timm.loss.SoftTargetCrossEntropy(), F.one_hot(LABELS, 5).double(), 'softmax'),
        (nn.BCEWithLogitsLoss(), F.one_hot(LABELS, 5).double(), 'sigmoid'),
        (F.binary_cross_entropy_with_logits, F.one_hot(LABELS, 5).double(), 'sigmoid'),
        (timm.loss.BinaryCrossEntropy(), LABELS, 'sigmoid'),
    ],
)
def test_distillation_matches_the_criterion(
    criterion: Any, labels: Tensor, activation: str
) -> None:
    trainer = CoTrainer(timm_model(), seed=3)
    loss = trainer.loss(images(), labels, criterion)
    assert torch.isfinite(loss)
    assert trainer.scheme.soft_loss.activation == activation


def test_labels_of_two_images() -> None:
    """Labels may have any structure that the criterion takes."""
    mixed = (LABELS, LABELS.flip(0), 0.3)

    def criterion(z: Tensor, labels: Any) -> Tensor:
        one, two, part = labels
        return part * F.cross_entropy(z, one) + (1 - part) * F.cross_entropy(z, two)

    soft = [F.one_hot(labels, 5).double() for labels in mixed[:2]]
    soft = 0.3 * soft[0] + 0.7 * soft[1]
    one, two = (CoTrainer(timm_model(), loss='ce', seed=3) for _ in range(2))
    expected = one.loss(images(), soft, nn.CrossEntropyLoss())
    torch.testing.assert_close(two.loss(images(), mixed, criterion), expected)


# ---- what bad input gets ---------------------------------------------------------


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (
            lambda: CoTrainer(timm_model('ResNet'), 'augdrop'),
            r'no dropout behind a projection',
        ),
        (lambda: CoTrainer(nn.Linear(2, 2)), r'no residual block that mmcosub knows'),
        (lambda: CoTrainer(timm_model(rate=0.0)), r'rate is 0.*CoTrainer\(model, drop'),
        (lambda: CoTrainer(timm_model(), 'cosubb'), r"scheme 'cosubb'.*'Cosub'"),
        (lambda: CoTrainer(timm_model(), weight=1.0), r'weight must be in \[0, 1\)'),
        (
            lambda: CoTrainer(timm_model(), wieght=0.1),
            r"Cosub has no argument \['wieght'\]. Valid ones: .*'seed'.*'weight'",
        ),
        (
            lambda: CoTrainer(timm_model(), unlabelled=dict(rate=1)),
            r"Unlabelled has no argument \['rate'\].*'weight'",
        ),
        (lambda: CoTrainer(timm_model(), 'augpath', lean=True), r'lean=True cannot'),
        (lambda: CoTrainer(timm_model(), Cosub(), weight=0.3), r"Give \['weight'\]"),
        (lambda: CoTrainer(DataParallel(timm_model())), r'DistributedDataParallel'),
        (
            lambda: CoTrainer(timm_model(), 'collaboration', representation=0.1),
            r'returns logits, not features',
        ),
    ],
)
def test_refused_when_built(change: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        change()


@pytest.mark.parametrize(
    ('criterion', 'settings', 'expected'),
    [
        (lambda z, y: z.mean(), {}, r"Give it loss='ce' or loss='bce'"),
        (nn.CrossEntropyLoss(reduction='sum'), {}, r"reduction='sum'.*mean"),
        (partial(F.cross_entropy, reduction='none'), {}, r"reduction='none'.*mean"),
        (timm.loss.BinaryCrossEntropy(sum_classes=True), {}, r'Set sum_classes=False'),
        (lambda z, y: z - 1, dict(loss='ce'), r'returns \(4, 5\), and a mean'),
        (nn.CrossEntropyLoss(), dict(loss='bce'), r"scheme\.loss='ce'"),
    ],
)
def test_refused_criteria(criterion: Any, settings: dict, expected: str) -> None:
    trainer = CoTrainer(timm_model(), **settings)
    with pytest.raises(ValueError, match=expected):
        trainer.loss(images(), LABELS, criterion)


def test_a_softmax_of_one_class_is_refused() -> None:
    model = Wrapped(lambda z: z[:, :1])
    with pytest.raises(ValueError, match=r"one class.*Give loss='bce'"):
        CoTrainer(model, loss='ce').loss(images(), LABELS, lambda z, y: z.mean())


def test_a_scheme_keeps_parts_of_one_model() -> None:
    scheme = AugDrop(ratio=0.5)
    CoTrainer(timm_model(), scheme)
    with pytest.raises(ValueError, match=r'AugDrop is in use by another model'):
        CoTrainer(timm_model(), scheme)


def test_a_refused_model_leaves_the_scheme_free() -> None:
    scheme = Cosub()
    with pytest.raises(ValueError, match=r'Every drop-path rate is 0'):
        CoTrainer(timm_model(rate=0.0), scheme)
    CoTrainer(timm_model(), scheme)


def test_an_interrupted_check_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, criterion = CoTrainer(timm_model()), nn.CrossEntropyLoss()
    with monkeypatch.context() as patch:
        patch.setattr('mmcosub.schemes.training.is_exact', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trainer.loss(images(), LABELS, criterion)
    asked: list[str] = []
    name = 'mmcosub.schemes.training.check_network'
    monkeypatch.setattr(name, lambda *args: asked.append(args[3]))
    for _ in range(2):
        trainer.loss(images(), LABELS, criterion)
    assert asked == ['shared_prefix']


def test_subnets_of_a_model_built_in_evaluation_mode_run_alone() -> None:
    model = timm.create_model('resnet18', num_classes=5).eval()
    assert not CoTrainer(model, 'stimulative').scheme.joint


class Centred(nn.Module):
    """A network whose output depends on the number of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.network = timm_model()

    def forward(self, x: Tensor) -> Tensor:
        z = self.network(x)
        return z - z.mean(dim=0)


def test_rows_that_are_mixed_at_the_end_are_not_shared() -> None:
    trainer = CoTrainer(Centred())
    trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
    assert trainer.execution_of_plans() == 'kept_rows'


def test_evaluation_mode_is_refused() -> None:
    trainer = CoTrainer(timm_model().eval())  # built in it is no error
    with pytest.raises(ValueError, match=r'model.train\(\)'):
        trainer.loss(images(), LABELS, nn.CrossEntropyLoss())


# ---- in a loop -------------------------------------------------------------------


def losses(trainer: CoTrainer, steps: int) -> list[float]:
    criterion = nn.CrossEntropyLoss()
    done = [trainer.loss(images(), LABELS, criterion) for _ in range(steps)]
    return [loss.item() for loss in done]


@pytest.mark.parametrize('scheme', ['cosub', 'collaboration'])
def test_state(scheme: str) -> None:
    options = dict(intermediate=0.5) if scheme == 'collaboration' else {}
    first = CoTrainer(timm_model(), scheme, **options)
    losses(first, 2)
    state = copy.deepcopy(first.state_dict())
    torch.manual_seed(99)
    second = CoTrainer(timm_model(), scheme, **options)
    second.load_state_dict(state)
    assert losses(second, 2) == losses(first, 2)
    assert len([*first.parameters()]) >= len([*first.model.parameters()])


class Alternating:
    """A sampler of one's own: every other branch, the same for all images."""

    def __call__(self, rates: Any, batch: int, rng: Any) -> Any:
        keep = np.arange(len(rates)) % 2 == rng.integers(2)
        return np.tile(keep[:, None], batch)


def test_own_sampler() -> None:
    trainers = [
        CoTrainer(timm_model(), seed=3, sampler=sampler)
        for sampler in (Alternating(), Alternating, dict(type=Alternating), None)
    ]
    first, *others, usual = (losses(trainer, 2) for trainer in trainers)
    assert others == [first, first]
    assert usual != first


def test_seeded_by_step_not_by_torch() -> None:
    one = CoTrainer(timm_model(), Cosub(seed=5))
    two = CoTrainer(timm_model(), seed=5)
    first = losses(one, 2)
    torch.manual_seed(77)
    assert losses(two, 2) == first
    assert first[0] != first[1]


@pytest.mark.parametrize('name', ['ViT', 'ConvNeXt'])
def test_activation_checkpointing(name: str) -> None:
    done = []
    for on in (False, True):
        model = timm_model(name)
        model.set_grad_checkpointing(on)
        trainer = CoTrainer(model, 'augpath', seed=3)  # two passes, one backward
        loss = trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
        done.append(gradients(model, loss))
    for a, b in zip(*done, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_autocast_scaler_and_accumulation() -> None:
    model = timm_model().float()
    trainer = CoTrainer(model, seed=3)
    optimizer = torch.optim.SGD(trainer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler('cpu')
    before = copy.deepcopy(model.state_dict())
    for _ in range(2):
        with torch.autocast('cpu', torch.bfloat16):
            loss = trainer.loss(images().float(), LABELS, nn.CrossEntropyLoss())
        assert loss.dtype == torch.float32
        scaler.scale(loss / 2).backward()
    scaler.step(optimizer)
    changed = [not torch.equal(before[k], v) for k, v in model.state_dict().items()]
    assert all(changed)


@pytest.mark.filterwarnings('ignore')  # of the compiler's own
def test_compiled(caplog: pytest.LogCaptureFixture) -> None:
    torch.compiler.reset()
    model = timm_model()
    plain = gradients(
        model,
        CoTrainer(model, seed=3).loss(images(), LABELS, nn.CrossEntropyLoss()),
    )
    trainer = CoTrainer(torch.compile(model, backend='eager'), seed=3)
    assert 'compiles the residual functions' in caplog.text
    loss = trainer.loss(images(), LABELS, nn.CrossEntropyLoss())
    for a, b in zip(gradients(model, loss), plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    model.compile(backend='eager')
    with pytest.raises(ValueError, match=r'by torch.compile\(model\)'):
        CoTrainer(model)


def test_distributed(tmp_path: Path) -> None:
    port, files = free_port(), [tmp_path / '0', tmp_path / '1']
    ranks = [
        context().Process(target=co_trainer_rank.main, args=(rank, port, file))
        for rank, file in enumerate(files)
    ]
    for rank in ranks:
        rank.start()
    assert finish(ranks, 120) == [0, 0]
    done = [json.loads(file.read_text()) for file in files]
    for scheme in ('cosub', 'augpath'):
        one, two = (each[scheme] for each in done)
        assert one['same']
        assert two['same']
        assert one['loss'] != two['loss']  # other plans on each rank
        # About the model alone, not about the wrapped one.
        assert sum('not averaged' in text for text in one['said']) == 1
    assert [each['seed'] for each in done] == [0, 0]  # that of the first is saved


# ---- unlabelled images ------------------------------------------------------------


@pytest.mark.parametrize('students', STUDENTS)
def test_unlabelled_images(students: str) -> None:
    """The loss is that of the formula, on masked students; without images it is 0."""
    model = timm_model()
    weak, strong = images(3), images(3).roll(1, 0) * 0.8
    labelled = images(), LABELS, nn.CrossEntropyLoss()
    settings = dict(students=students, weight=0.7)

    def trainer() -> CoTrainer:
        own = copy.deepcopy(model)
        return CoTrainer(own, drop_path_rate=0.3, seed=5, unlabelled=settings)

    alone = trainer().loss(*labelled)
    assert torch.equal(alone, trainer().loss(*labelled, (weak[:0], strong[:0])))
    cosub = trainer()
    total = cosub.loss(*labelled, (weak, strong))
    assert cosub._unlabelled is not None
    plan = cosub._unlabelled.method.draw(
        cosub.sites,
        3,
        plan_generator(5, 0, 0, 2**16),
        cosub.scheme.rates(cosub.sites),
    )
    plain, _ = run_submodels(cosub.model, strong, plan, cosub.sites, 'plain')
    target = copy.deepcopy(model).eval()(weak).detach().softmax(1)
    expected = [
        -(target * z.log_softmax(1)).sum(1).mean() for z in plain.chunk(plan.views)
    ]
    torch.testing.assert_close(total - alone, 0.7 * sum(expected) / len(expected))
    before = {name: p.detach().clone() for name, p in cosub.model.named_parameters()}
    assert all(p.requires_grad for p in cosub.parameters())
    total.backward()
    optimizer = torch.optim.SGD(cosub.parameters(), lr=0.1)
    optimizer.step()
    cosub.loss(*labelled, (weak, strong))
    average = cosub.extras['average'].network
    for name, after in cosub.model.named_parameters():
        mean = dict(average.named_parameters())[name]
        torch.testing.assert_close(mean, (before[name] + after) / 2)
    other = trainer()
    other.load_state_dict(cosub.state_dict())
    other.model.load_state_dict(cosub.model.state_dict())
    again = [each.loss(*labelled, (weak, strong)) for each in (cosub, other)]
    assert torch.equal(*again)


def test_teacher_of_a_model_that_recomputes() -> None:
    """Its copy of the block runs, not the student's."""
    model = timm_model()
    turn_on_activation_checkpointing(model, ['blocks.1'])
    cosub = CoTrainer(model, seed=5, unlabelled={})
    batch = images(), LABELS, nn.CrossEntropyLoss(), (images(3), images(3) * 0.8)
    cosub.loss(*batch)
    teacher, own = cosub.extras['average'].network, timm_model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        assert torch.equal(teacher(images()), own(images()))


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (dict(unlabelled=images(2)), r'unlabelled must be .*not Tensor'),
        (dict(unlabelled=(images(2), images(1))), r'not \[\(2, 3, .*\(1, 3, '),
        (dict(images={'pixel_values': images()}), r'must be a tensor, not a dict'),
        (dict(images=images()[:0]), r'no labelled images'),
        (
            dict(unlabelled=(images(2), images(2)), criterion=nn.MSELoss()),
            r'cannot tell whether the criterion MSELoss',
        ),
    ],
)
def test_refused_inputs(arguments: dict, expected: str) -> None:
    trainer = CoTrainer(timm_model(), 'stochastic_depth')
    usual = dict(images=images(), labels=LABELS, criterion=nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match=expected):
        trainer.loss(**{**usual, **arguments})


def test_a_state_with_the_average_loads_without_the_setting() -> None:
    weak, strong = images(3), images(3) * 0.8
    labelled = images(), LABELS, nn.CrossEntropyLoss()
    first, second, third = (CoTrainer(timm_model(), seed=5) for _ in range(3))
    first.loss(*labelled, (weak, strong))  # learns from them with the defaults
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        each.model.load_state_dict(first.model.state_dict())
    again = [each.loss(*labelled, (weak, strong)) for each in (first, second)]
    assert torch.equal(*again)
    alone = third.state_dict()
    with pytest.raises(ValueError, match='another scheme or model'):
        first.load_state_dict(alone)


def test_the_teacher_follows_steps_of_accumulated_gradients() -> None:
    x, arguments = images(2), (images(), LABELS, nn.CrossEntropyLoss())
    trainer = CoTrainer(timm_model(), seed=3)
    optimizer = torch.optim.SGD(trainer.parameters(), lr=0.1)
    updates = []
    for step in range(5):
        if step == 3:  # resumed between a step and the next batch
            trainer.load_state_dict(copy.deepcopy(trainer.state_dict()))
        # Steps between which there were labelled images alone count, too.
        trainer.loss(*arguments, (x, x) if step < 4 else None).backward()
        updates.append(int(trainer.extras['average'].updates))
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()
    assert updates == [1, 1, 2, 2, 3]


class Named(nn.Module):
    """A model with parts of the names of mmcosub's, and of two precisions."""

    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = nn.Conv2d(3, 3, 1).bfloat16()
        self.inner = timm_model().float()
        self.extras = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.data_preprocessor(x.bfloat16()).float()
        return self.extras(self.inner(x))


def test_the_teacher_is_like_any_model() -> None:
    model, x = Named(), images().float()
    trainer = CoTrainer(model, seed=3)
    for _ in range(2):
        trainer.loss(x, LABELS, nn.CrossEntropyLoss(), (x, x)).backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
    average = dict(trainer.extras['average'].network.named_parameters())
    own = dict(model.named_parameters())
    assert {k: p.dtype for k, p in own.items()} == {
        k: p.dtype for k, p in average.items()
    }


class _FabricModule(nn.Module):
    """As Lightning's with bf16-true: it casts the inputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.bfloat16()).float()


def test_unlabelled_images_in_a_wrapper_that_casts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, x = timm_model(), images().float()
    arguments = LABELS, nn.CrossEntropyLoss()
    wrapped = CoTrainer(_FabricModule(copy.deepcopy(model)), seed=3)
    loss = wrapped.loss(x, *arguments, (x, x))
    expected = CoTrainer(model.float(), seed=3).loss(x, *arguments, (x, x))
    torch.testing.assert_close(loss, expected, rtol=0.01, atol=0)
    said = [text for text in caplog.messages if 'too coarse' in text]
    assert len(said) == 1
    assert 'torch.bfloat16' in said[0]


def test_a_cumulative_average_of_statistics_counts_labelled_batches() -> None:
    x, found = images(size=64), []
    for unlabelled in (None, (x, x * 3)):
        model = timm_model('ResNet')
        model.bn1.momentum = None
        trainer = CoTrainer(model, seed=3)
        for i in range(3):
            trainer.loss(x * (i + 1), LABELS, nn.CrossEntropyLoss(), unlabelled)
        found.append(dict(model.named_buffers()))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
