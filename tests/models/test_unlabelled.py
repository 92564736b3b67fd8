"""Unlabelled images in a segmentor's and a classifier's step."""

import copy
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import turn_on_activation_checkpointing
from mmseg.registry import MODELS
from tiny import BACKBONES, labelled_images, segmentor_config

from mmcosub import CoTrainer
from mmcosub.hooks.full_network_bn_hook import estimate_statistics
from mmcosub.schemes import unlabelled_loss
from mmcosub.schemes.unlabelled import IMAGE
from mmcosub.schemes.unlabelled_loss import Average

COSUB = dict(type='Cosub', drop_path_rate=0.3, seed=1)


def build(cfg: dict, scheme: dict | None = None) -> Any:
    """An upstream segmentor, or the same under a scheme."""
    init_default_scope('mmseg')
    cfg = ConfigDict(copy.deepcopy(cfg))
    if scheme is not None:
        cfg.update(type=f'mmcosub.CoTraining{cfg["type"]}', scheme=scheme)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.train() or model


def segmentor(name: str = 'mmpretrain Swin', **unlabelled: Any) -> Any:
    cfg = segmentor_config(name)
    return build({**cfg, 'unlabelled': unlabelled}, COSUB)


def batch(unlabelled: int | None = 3) -> dict:
    images, samples = labelled_images()
    data = dict(inputs=[*images], data_samples=samples)
    if unlabelled:
        weak, maps = labelled_images(unlabelled, classes=1, seed=1)
        strong = weak + 0.1 * torch.randn(
            weak.shape, generator=torch.Generator().manual_seed(2)
        )
        for padding, sample in zip((255, 0, 255), maps, strict=False):
            label = sample.gt_sem_seg.data
            label[:] = torch.where(label == 0, IMAGE, padding)
        data['unlabelled'] = dict(weak=[*weak], strong=[*strong], data_samples=maps)
    return data


def step(model: Any, data: dict, lr: float = 0.0) -> dict:
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=lr))
    return model.train_step(data, wrapper)


def test_students_have_the_drop_path_rate_of_the_scheme() -> None:
    cfg = segmentor_config()
    cfg['backbone'] = {**cfg['backbone'], 'drop_path_rate': 0.0}
    model = build({**cfg, 'unlabelled': {}}, COSUB)
    assert all(site.rate == 0 for site in model.sites)
    assert step(model, batch())['loss_unlabelled'] > 0


def test_labelled_losses_stay_bit_for_bit() -> None:
    without = step(build(segmentor_config(), COSUB), batch(None))
    with_ = step(segmentor(), batch())
    assert 'loss_unlabelled' in with_
    for key in set(without) - {'loss'}:
        assert torch.equal(without[key], with_[key]), key


def test_the_loss_follows_the_weight_of_the_label_loss() -> None:
    losses = []
    for weight in (1.0, 4.0):
        cfg = segmentor_config()
        cfg['decode_head']['loss_decode']['loss_weight'] = weight
        losses.append(step(build({**cfg, 'unlabelled': {}}, COSUB), batch()))
    for name in ('loss_unlabelled', 'decode.loss_ce', 'decode.loss_co_training'):
        assert torch.equal(4 * losses[0][name], losses[1][name]), name


def test_the_loss_is_the_same_on_kept_rows() -> None:
    results = []
    for execution in ('plain', 'kept_rows', 'shared_prefix'):
        model = segmentor()
        model.scheme.execution = execution
        results.append(step(model, batch())['loss_unlabelled'])
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_the_teacher_is_the_full_network_on_the_weak_image() -> None:
    model = segmentor(cutmix=False)
    data = batch()
    images = torch.stack(data['unlabelled']['weak'])
    maps = torch.stack(
        [s.gt_sem_seg.data[0] for s in data['unlabelled']['data_samples']]
    )
    teacher = copy.deepcopy(model).eval()
    with torch.no_grad():
        logits = teacher.decode_head(teacher.backbone(images))
    image = torch.nn.functional.adaptive_avg_pool2d(
        (maps == IMAGE).float()[:, None], logits.shape[2:]
    )[:, 0]
    confidence = (logits.softmax(1).amax(1) * image).sum() / image.sum()
    step(model, data)
    # The averaged weights begin as the weights, statistics included.
    torch.testing.assert_close(model.telemetry['unlabelled_confidence'], confidence)


RESNET = dict(
    type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8,
    out_indices=(2, 3), norm_cfg=dict(type='BN'), drop_path_rate=0.3, with_cp=True,
)  # fmt: skip


@pytest.mark.parametrize('backbone', [None, RESNET], ids=['Swin', 'recomputed ResNet'])
def test_the_strong_pass_leaves_statistics_alone(backbone: dict | None) -> None:
    """They are those of a training without unlabelled images."""
    cfg = segmentor_config()
    if backbone:
        cfg['backbone'] = backbone
        cfg['decode_head']['in_channels'] = [32, 64]
        cfg['auxiliary_head']['in_channels'] = 64
    without, with_ = build(cfg, COSUB), build({**cfg, 'unlabelled': {}}, COSUB)
    step(without, batch(None))
    step(with_, batch())
    own = dict(with_.named_buffers())
    for name, buffer in without.named_buffers():
        assert torch.equal(buffer, own[name]), name


def test_the_teacher_gets_no_gradient_and_follows() -> None:
    model = segmentor(momentum=0.25)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    step(model, batch(), lr=0.1)
    average = model.extras['average']
    assert isinstance(average, Average)
    assert all(p.grad is None for p in average.parameters())
    after = model.state_dict()
    key = 'decode_head.conv_seg.weight'
    # The first update copies, the second is the mean of both.
    expected = (before[key] + after[key]) / 2
    torch.testing.assert_close(average.network.state_dict()[key], expected)
    assert set(after) == set(build(segmentor_config()).state_dict())


def test_the_teacher_follows_steps_of_accumulated_gradients() -> None:
    model = segmentor()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper, updates = OptimWrapper(sgd, accumulative_counts=2), []
    for _ in range(4):
        model.train_step(batch(), wrapper)
        updates.append(int(model.extras['average'].updates))
    assert updates == [1, 2, 2, 3]  # the first copies


def test_estimated_statistics_are_not_those_of_the_teacher() -> None:
    model = segmentor()
    step(model, batch())
    model.load_state_dict(model.state_dict())  # as of a checkpoint
    model.train()
    average = model.extras['average']
    before = [buffer.clone() for buffer in average.buffers()]
    estimate_statistics(model, [batch(None)])
    assert all(map(torch.equal, before, average.buffers()))


@pytest.mark.parametrize('teacher', ['average', 'current'])
def test_all_processes_have_the_teacher_of_the_first(
    teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = segmentor(teacher=teacher)
    monkeypatch.setattr(unlabelled_loss, 'count_processes', lambda: 2)
    monkeypatch.setattr(
        torch.distributed, 'broadcast', lambda vector, rank: vector.fill_(7 + rank)
    )
    network = model.unlabelled._teacher(model)
    buffers = [b for b in network.buffers() if b.is_floating_point()]
    assert all((buffer == 7).all() for buffer in buffers)
    assert buffers
    own = network.decode_head.conv_seg.weight
    assert torch.equal(own, model.decode_head.conv_seg.weight)


def test_recomputed_heads() -> None:
    """Gradients are the same, and BatchNorm still records no strong image."""

    def trained(recompute: bool, unlabelled: int | None = 3) -> tuple[Any, Any]:
        model = segmentor()
        if recompute:
            heads = ['decode_head', 'auxiliary_head']
            turn_on_activation_checkpointing(model, heads)
        step(model, batch(unlabelled))
        weights = model.named_parameters()
        return {n: p.grad for n, p in weights if p.requires_grad}, dict(
            model.named_buffers()
        )

    plain, recomputed = trained(False), trained(True)
    torch.testing.assert_close(recomputed[0], plain[0])
    labelled = trained(True, None)[1]
    ours = {n: b for n, b in recomputed[1].items() if not n.startswith('extras')}
    for name, buffer in ours.items():
        assert torch.equal(buffer, labelled[name]), name


def test_complementary_students_cost_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = []
    run = unlabelled_loss.run_submodels

    def noting(*args: Any, **kwargs: Any) -> Any:
        outputs, share = run(*args, **kwargs)
        work.append(share)
        return outputs, share

    model = segmentor(students='complementary')
    monkeypatch.setattr(unlabelled_loss, 'run_submodels', noting)
    step(model, batch())
    assert work == [0.5]


@pytest.mark.parametrize('teacher', ['average', 'current'])
def test_copies_train_alike(teacher: str) -> None:
    model = segmentor(teacher=teacher)
    other = copy.deepcopy(model)
    first = [step(model, batch(), lr=0.1) for _ in range(2)]
    again = [step(other, batch(), lr=0.1) for _ in range(2)]
    assert torch.equal(first[1]['loss'], again[1]['loss'])
    assert not torch.equal(first[0]['loss'], first[1]['loss'])


def test_a_threshold_that_nothing_reaches_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unlabelled_loss, 'PATIENCE', 2)
    model = segmentor(threshold=0.999999)
    losses = [step(model, batch()) for _ in range(4)]
    assert all(each['loss_unlabelled'].item() == 0 for each in losses)
    said = [text for text in caplog.messages if 'threshold' in text]
    assert len(said) == 2
    assert 'unlabelled.threshold=0.999999 in 2 iterations' in said[0]
    resumed = segmentor(threshold=0.999999)
    resumed.plans_drawn = 3
    caplog.clear()
    step(resumed, batch())
    assert not [text for text in caplog.messages if 'threshold' in text]


@pytest.mark.parametrize('name', ['timm', 'mmpretrain'])
def test_classifiers_learn_as_in_a_plain_loop(name: str) -> None:
    from mmpretrain.registry import MODELS as CLASSIFIERS
    from mmpretrain.structures import DataSample

    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    cfg: dict[str, Any] = dict(
        type='mmcosub.CoTrainingTimmClassifier',
        model_name='test_vit',
        img_size=32,
        num_classes=5,
        drop_path_rate=0.3,
        loss=dict(type='CrossEntropyLoss'),
    )
    if name == 'mmpretrain':
        backbone = dict(
            BACKBONES['mmpretrain ViT'], out_type='cls_token', out_indices=-1
        )
        head = dict(type='LinearClsHead', num_classes=5, in_channels=16)
        cfg = dict(type='mmcosub.CoTrainingImageClassifier')
        cfg.update(backbone=backbone, head=head)
    cfg.update(scheme=dict(type='Cosub', seed=5), unlabelled=dict(weight=0.7))
    model = CLASSIFIERS.build(cfg)
    model.train()
    plain = copy.deepcopy(model.backbone if name == 'timm' else Plain(model))
    images, labels = torch.randn(7, 3, 32, 32), torch.arange(4)
    weak, strong = images[4:], images[4:] * 0.8
    samples = [DataSample().set_gt_label(int(label)) for label in labels]
    batch = dict(weak=[*weak], strong=[*strong], data_samples=samples[:3])
    data = dict(inputs=[*images[:4]], data_samples=samples, unlabelled=batch)
    found = step(model, data)['loss_unlabelled']

    losses = []
    for unlabelled in (None, (weak, strong)):
        trainer = CoTrainer(copy.deepcopy(plain), seed=5, unlabelled=dict(weight=0.7))
        criterion = torch.nn.CrossEntropyLoss()
        losses.append(trainer.loss(images[:4], labels, criterion, unlabelled))
    torch.testing.assert_close(found, (losses[1] - losses[0]).detach())


class Plain(torch.nn.Module):
    """A classifier of mmpretrain as any other: images in, logits out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))
