import copy
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny import labelled_images, segmentor_config
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub.config.co_train import co_trained_model
from mmcosub.engine import CoTrainingRunner, apply_scheme
from mmcosub.hooks.full_network_bn_hook import (
    FullNetworkBNHook,
    _own_loader,
    estimate_statistics,
)

RESNET = dict(
    type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8,
    out_indices=(2, 3), drop_path_rate=0.2, norm_cfg=dict(type='BN'),
)  # fmt: skip


def config_of(path: Path, scheme: str, **options: object) -> Config:
    """A segmentor over a network of convolutions, under a scheme."""
    cfg = Config.fromfile(path)
    cfg.model.backbone = RESNET
    cfg.model.decode_head.in_channels = [32, 64]
    cfg.model.auxiliary_head.in_channels = 64
    cfg.merge_from_dict(options)
    apply_scheme(cfg, scheme)
    return cfg


@pytest.mark.parametrize(('scheme', 'workers'), [('gkt', 0), ('stimulative', 1)])
@pytest.mark.sweep(every=2)
def test_training_goes_on_behind_it(scheme: str, workers: int, config: Path) -> None:
    # Crops of unlike size, as small images give; validation twice, and on behind it.
    options = {
        'train_cfg.max_iters': 7,
        'train_cfg.val_interval': 3,
        'train_dataloader.num_workers': workers,
        'model.data_preprocessor.size': (48, 48),
    }
    cfg = config_of(config, scheme, **options)
    cfg.train_dataloader.dataset.pipeline[2] = dict(
        type='RandomResize', scale=(48, 40), ratio_range=(0.5, 1.0), keep_ratio=True
    )
    runner = CoTrainingRunner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 7
    assert runner.model.plans_drawn == 7
    assert {path.name for path in Path(runner.work_dir).glob('*.pth')} >= {'iter_6.pth'}


def test_statistics_are_the_means_over_batches() -> None:
    init_default_scope('mmseg')
    from mmseg.registry import MODELS

    cfg = copy.deepcopy(segmentor_config())
    cfg['backbone'] = dict(RESNET, frozen_stages=1)
    cfg['decode_head'].update(in_channels=[32, 64])
    cfg['auxiliary_head'].update(in_channels=64)
    model = MODELS.build(co_trained_model(cfg, dict(type='GroupKnowledge')))
    model.train()
    frozen = model.backbone.layer1[0].norm1.running_mean.clone()
    batches = []
    for seed in range(3):
        images, samples = labelled_images(size=(48, 48), seed=seed)
        data = dict(inputs=list(images), data_samples=samples)
        batches.append(data)
    layer = model.backbone.layer2[0].norm1
    seen: list[torch.Tensor] = []
    layer.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    estimate_statistics(model, batches)
    assert len(seen) == 3
    mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    var = torch.stack([x.var(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_var, var)
    assert torch.equal(model.backbone.layer1[0].norm1.running_mean, frozen)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert {m.momentum for m in norms} == {0.1}
    assert model.backbone.layer2[0].drop_path.drop_prob > 0  # on again
    # Of the full network: every branch was kept, so twice gives the same.
    first = layer.running_mean.clone()
    estimate_statistics(model, batches)
    torch.testing.assert_close(layer.running_mean, first)


@pytest.mark.parametrize('scheme', ['gkt', 'cosub'])
@pytest.mark.sweep(every=2)
def test_only_where_subnets_change_them(scheme: str, config: Path) -> None:
    runner = CoTrainingRunner.from_cfg(config_of(config, scheme))
    runner.train()
    hooks = [type(hook) for hook in runner.hooks]
    assert (FullNetworkBNHook in hooks) == (scheme == 'gkt')


def test_checkpoints_have_the_new_statistics(
    train: ModuleType, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mark(model: nn.Module, batches: object) -> None:
        for m in model.modules():
            if isinstance(m, _BatchNorm):
                m.running_mean.fill_(7.0)

    monkeypatch.setattr('mmcosub.hooks.full_network_bn_hook.estimate_statistics', mark)
    runner = CoTrainingRunner.from_cfg(config_of(config, 'gkt'))
    runner.train()
    saved = torch.load(Path(runner.work_dir) / 'iter_4.pth', weights_only=False)
    means = [v for k, v in saved['state_dict'].items() if k.endswith('running_mean')]
    assert means
    assert all((mean == 7).all() for mean in means)


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.sweep(every=2)
def test_averaged_weights_have_statistics_of_their_own(
    update_buffers: bool, config: Path
) -> None:
    cfg = config_of(config, 'gkt')
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    cfg.train_dataloader.sampler.type = 'DefaultSampler'
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    average = dict(type='EMAHook', momentum=0.5, update_buffers=update_buffers)
    cfg.custom_hooks = [average]
    fixed = dict(type='Resize', scale=(32, 32), keep_ratio=False)
    cfg.train_dataloader.dataset.pipeline[2] = fixed
    runner = CoTrainingRunner.from_cfg(cfg)
    runner.train()
    saved = torch.load(Path(runner.work_dir) / 'epoch_1.pth', weights_only=False)
    got = copy.deepcopy(runner.model)
    got.load_state_dict(saved['state_dict'])  # the averaged weights
    seen = statistics(got)
    got.train()
    loader = _own_loader(runner.train_dataloader, runner.iter)
    estimate_statistics(got, loader)
    torch.testing.assert_close(statistics(got), seen)


def statistics(model: nn.Module) -> list[torch.Tensor]:
    """Running means, without those of auxiliary heads, which do not run."""
    return [
        m.running_mean.clone()
        for name, m in model.named_modules()
        if isinstance(m, _BatchNorm) and not name.startswith('auxiliary')
    ]


@pytest.mark.parametrize('settings', [dict(num_samples=0)])
def test_bad_numbers(settings: dict) -> None:
    with pytest.raises(ValueError, match='must be 1 or more'):
        FullNetworkBNHook(**settings)


@pytest.mark.parametrize('name', ['mmcv', 'timm', 'torchvision'])
def test_statistics_are_of_the_whole_network(name: str) -> None:
    """Whosever drop path it has, none drops while statistics are taken."""
    import timm.layers
    import torchvision.ops
    from mmcv.cnn.bricks import DropPath

    drop = {
        'mmcv': lambda: DropPath(0.9),
        'timm': lambda: timm.layers.DropPath(0.9),
        'torchvision': lambda: torchvision.ops.StochasticDepth(0.9, 'row'),
    }[name]()
    seen: list[torch.Tensor] = []

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = nn.BatchNorm2d(3), drop

        def forward(self, images: torch.Tensor) -> None:
            seen.append(self.drop(self.norm(images)))

    model = Model().train()
    model.data_preprocessor = lambda images, training: dict(images=images)
    estimate_statistics(model, [torch.randn(64, 3, 2, 2)])
    assert (seen[-1].flatten(1).abs().sum(1) > 0).all()
    assert drop.training
    model(torch.randn(64, 3, 2, 2))
    assert (seen[-1].flatten(1).abs().sum(1) == 0).any()


def test_layers_that_see_nothing_keep_theirs() -> None:
    """Such as those of auxiliary heads, which predictions do without."""
    init_default_scope('mmseg')
    from mmseg.registry import MODELS

    model = MODELS.build(segmentor_config()).train()
    images, samples = labelled_images(seed=0)
    model(images, samples, mode='loss')
    heads = (model.decode_head, model.auxiliary_head)
    used, unused = (
        [m for m in h.modules() if isinstance(m, _BatchNorm)] for h in heads
    )
    before = [copy.deepcopy(m.state_dict()) for m in (*used, *unused)]
    estimate_statistics(model, [dict(inputs=[*images * 9], data_samples=samples)])
    same = [
        all(torch.equal(value, old[name]) for name, value in m.state_dict().items())
        for m, old in zip((*used, *unused), before, strict=True)
    ]
    assert same == [False] * len(used) + [True] * len(unused)
    assert unused


@pytest.mark.parametrize(('images', 'batches'), [(8, 1), (40, 2)])
def test_every_process_has_a_batch(
    images: int, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its share, be it smaller than a batch of the training."""
    dataset = torch.utils.data.TensorDataset(torch.arange(images))
    given = torch.utils.data.DataLoader(dataset, batch_size=4)
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (0, 4))
    assert len(_own_loader(given, seed=0)) == batches


@pytest.mark.parametrize('known', [True, False])
def test_batch_samplers(known: bool) -> None:
    """Their batches are of as many images; of one, where they do not say."""
    dataset = torch.utils.data.TensorDataset(torch.arange(8))
    given: object = torch.utils.data.BatchSampler(range(8), 4, drop_last=True)
    if not known:
        given = list(given)
    loader = _own_loader(
        torch.utils.data.DataLoader(dataset, batch_sampler=given), seed=0
    )
    assert loader.batch_size == (4 if known else 1)
    assert sum(len(numbers) for (numbers,) in loader) == 8
