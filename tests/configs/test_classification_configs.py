"""Every pretraining recipe builds, trains and predicts, and is what its name says."""

import copy
import functools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import DATA_SAMPLERS, MODELS
from mmpretrain.structures import DataSample

import mmcosub.datasets  # noqa: F401  (registers ours)
from mmcosub.config.co_train import RUNNER, co_trained_model
from mmcosub.config.settings import check_optimizer
from mmcosub.submodels import find_branches

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(path.stem for path in (ROOT / 'cosub_pretrain').glob('*.py'))
DATASETS = sorted(
    path.stem for path in (ROOT / '_base_' / 'datasets').glob('imagenet*.py')
)
SCHEDULES = sorted(
    path.stem for path in (ROOT / '_base_' / 'schedules').glob('*_*e.py')
)
CLASSES = {'in1k': 1000, 'in21k': 21841}
NAME = re.compile(
    r'(?P<model>.+?)(?P<pretrained>-in21k-pre)?_cosub(?P<tuned>-ft)?_(?P<gpus>\d+)xb'
    r'(?P<batch>\d+)-(?P<epochs>\d+)e_(?P<data>in1k|in21k)-(?P<size>\d+)'
)


@functools.cache
def _config(name):
    return Config.fromfile(ROOT / 'cosub_pretrain' / f'{name}.py')


def config(name):
    cfg = copy.deepcopy(_config(name))
    init_default_scope(cfg.default_scope)
    return cfg


def network(model):
    """Config of what has the drop-path rate."""
    return model if model.type == 'TimmClassifier' else model.backbone


def shrink(cfg):
    """The same model with few channels, blocks and classes; returns its image size."""
    model, size = cfg.model, 64
    net = network(model)
    kind = net.type.partition('.')[2]
    if kind == 'VisionTransformer':
        net.arch = dict(
            embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32
        )
        channels = 16
    elif kind.startswith('SwinTransformer'):
        net.arch = dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8])
        net.window_size = 2
        if kind == 'SwinTransformerV2':
            net.arch.extra_norm_every_n_blocks = 0
        channels = 64
    elif kind == 'ConvNeXt':
        net.arch = dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64])
        channels = 64
    elif kind == 'XCiT':
        net.update(embed_dims=16, depth=2, num_heads=2)
        channels = 16
    elif kind == 'ResNet':
        net.update(stem_channels=8, base_channels=8)
        channels = 256
    elif kind == 'TIMMBackbone':
        net.model_name = 'regnety_002'
        channels = 368
    else:
        net.update(base_dims=[8] * 3, depth=[1, 2, 1], heads=[1, 2, 4], img_size=size)
    if 'img_size' in net:
        net.img_size = size
    if 'head' in model:
        model.head.update(in_channels=channels, num_classes=10)
    else:
        model.num_classes = 10
    cfg.data_preprocessor.num_classes = 10
    return size


def co_trained(cfg):
    """The wrapped model, as the runner builds it."""
    model = co_trained_model(cfg.model, cfg.scheme)
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **model})
    model.train()
    return model


def batch(size, count=4):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator
    )
    samples = [DataSample().set_gt_label(i) for i in range(count)]
    return dict(inputs=list(images), data_samples=samples)


def test_there_are_recipes():
    assert len(CONFIGS) == 50
    assert {NAME.fullmatch(name)['data'] for name in CONFIGS} == set(CLASSES)


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.sweep(every=4)
def test_full_size_builds(name, monkeypatch):
    # The backbones read their rates off a tensor, which has to be a real one.
    linspace = functools.partial(torch.linspace, device='cpu')
    monkeypatch.setattr(torch, 'linspace', linspace)
    cfg = config(name)
    classes = cfg.model.get('head', cfg.model).num_classes
    assert classes == CLASSES[NAME.fullmatch(name)['data']]
    assert classes == cfg.data_preprocessor.num_classes
    model_cfg = co_trained_model(cfg.model, cfg.scheme)
    with torch.device('meta'):  # full size, no memory
        model = MODELS.build(model_cfg)
    rates = np.array([site.rate for site in find_branches(model.backbone)])
    assert rates.max() == pytest.approx(_rate(cfg.model))
    if 'vit' in name:
        assert (rates == rates[0]).all()  # constant over depth
    elif 'xcit' not in name:
        assert rates[0] == 0
        assert (np.diff(rates) >= 0).all()


def _rate(model):
    net = network(model)
    return net.get('drop_path_rate') or net.layer_cfgs.drop_path_rate


@pytest.mark.parametrize('name', CONFIGS)
def test_rates_above_zero(name):
    assert 0 < _rate(config(name).model) < 1


@pytest.mark.parametrize('name', CONFIGS)
def test_is_what_its_name_says(name):
    cfg = config(name)
    says = NAME.fullmatch(name)
    size = int(says['size'])
    train, val = cfg.train_dataloader, cfg.val_dataloader
    assert train.batch_size == int(says['batch'])
    total = int(says['gpus']) * int(says['batch'])
    assert total == cfg.auto_scale_lr.base_batch_size
    assert cfg.train_cfg.max_epochs == int(says['epochs'])
    # A run that is made longer or shorter has the whole of its decay.
    assert cfg.param_scheduler[-1].get('end') == (5 if says['epochs'] == '20' else None)
    first = cfg.param_scheduler[0].start_factor * cfg.optim_wrapper.optimizer.lr
    assert first == pytest.approx(1e-6)
    crops = [
        t.get('crop_size', t.get('scale'))
        for t in (*train.dataset.pipeline, *val.dataset.pipeline)
        if t.type in ('RandomResizedCrop', 'RandomCrop', 'CenterCrop')
    ]
    assert crops == [size, size]
    assert network(cfg.model).get('img_size', size) == size
    assert cfg.test_dataloader == val
    folder = {'in1k': 'data/imagenet', 'in21k': 'data/imagenet21k'}[says['data']]
    assert {train.dataset.data_root, val.dataset.data_root} == {folder}
    assert cfg.runner_type == RUNNER


@pytest.mark.parametrize('name', CONFIGS)
def test_mixing(name):
    mixing = [augment.type for augment in config(name).model.train_cfg.augments]
    of_21k = 'in21k' in name and not name.endswith(('-384', '-448'))
    assert mixing == (['CutMix'] if of_21k else ['Mixup', 'CutMix'])


@pytest.mark.parametrize('name', CONFIGS)
def test_label_loss(name):
    cfg = config(name)
    loss = cfg.model.get('head', cfg.model).loss
    if NAME.fullmatch(name)['tuned'] or 'in21k' in name:
        assert loss.type == 'LabelSmoothLoss'
    else:
        assert (loss.type, loss.threshold) == ('mmcosub.BinaryCrossEntropyLoss', 0)
        assert cfg.train_dataloader.sampler.num_repeats == 3


@pytest.mark.parametrize('name', CONFIGS)
def test_weights_to_start_from_are_those_of_another_config(name):
    cfg = config(name)
    init = network(cfg.model).get('init_cfg') or {}
    paths = [cfg.load_from, init.get('checkpoint')]
    paths = [Path(path) for path in paths if path]
    assert len(paths) == bool(NAME.fullmatch(name)['tuned'])
    for path in paths:
        before = config(path.parent.name)
        assert path.parent.parent == Path('work_dirs')
        assert path.name == f'epoch_{before.train_cfg.max_epochs}.pth'
        assert (
            NAME.fullmatch(path.parent.name)['model'] == NAME.fullmatch(name)['model']
        )
        ours, theirs = (copy.deepcopy(network(c.model)) for c in (cfg, before))
        for key in ('img_size', 'layer_cfgs', 'drop_path_rate', 'init_cfg'):
            ours.pop(key, None), theirs.pop(key, None)
        if cfg.model.type == 'TimmClassifier':
            ours = theirs = ours.model_name
        assert ours == theirs
        if cfg.load_from and cfg.model.type != 'TimmClassifier':
            assert cfg.model.head.num_classes == before.model.head.num_classes


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.sweep(every=3)
def test_one_step_of_each(name):
    cfg = config(name)
    size = shrink(cfg)
    torch.manual_seed(0)
    np.random.seed(0)
    model = co_trained(cfg)
    binary = cfg.model.get('head', cfg.model).loss.type != 'LabelSmoothLoss'
    assert (model.scheme.soft_loss.activation == 'sigmoid') == binary
    data = model.data_preprocessor(batch(size), training=True)
    scores = torch.stack([sample.gt_score for sample in data['data_samples']])
    assert scores.shape == (4, 10)
    torch.testing.assert_close(scores.sum(1), torch.ones(4))
    losses = model(**data, mode='loss')
    assert losses['loss_co_training'] > 0
    total, _ = model.parse_losses(losses)
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    check_optimizer(model, cfg.optim_wrapper, False)
    build_optim_wrapper(model, cfg.optim_wrapper).optimizer.step()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(batch(size), training=False)
        predictions = model(**data, mode='predict')
    assert predictions[0].pred_score.shape == (10,)


@pytest.mark.parametrize('name', DATASETS)
def test_pipelines_run(name, tmp_path):
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / '_base_' / 'datasets' / f'{name}.py')
    image = np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / 'made.png'), image)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.type == 'CustomDataset'
        pipeline = Compose(copy.deepcopy(loader.dataset.pipeline))
        for _ in range(4):
            made = dict(img_path=str(tmp_path / 'made.png'), gt_label=3)
            sample = pipeline(made)
            size = re.search(r'_(\d{3})$', name)
            size = int(size[1]) if size else 224
            assert sample['inputs'].shape == (3, size, size)
            assert sample['inputs'].dtype == torch.uint8
            assert sample['data_samples'].gt_label == 3


def three_augment(index, image):
    cfg = Config.fromfile(ROOT / '_base_' / 'datasets' / 'imagenet_3augment.py')
    (choice,) = (t for t in cfg.train_pipeline if t.type == 'RandomChoice')
    assert 'prob' not in choice  # each as likely
    assert len(choice.transforms) == 3
    init_default_scope('mmpretrain')
    return Compose(choice.transforms[index])(dict(img=image.copy()))['img']


def test_three_augment():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    blue, green, red = image.astype(float).transpose(2, 0, 1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    grey = three_augment(0, image)
    assert grey.shape == image.shape
    assert np.abs(grey - luma[..., None]).max() <= 1
    solarized = np.where(image < 128, image, 255 - image)
    assert (three_augment(1, image) == solarized).all()
    blurred = three_augment(2, image)
    assert blurred.dtype == np.uint8
    assert 0 < blurred.std() < image.std()


def test_sampler():
    cfg = config('vit-small-p16_cosub_8xb256-800e_in1k-224')
    sampler = DATA_SAMPLERS.build(
        {**cfg.train_dataloader.sampler, 'seed': 0},
        default_args=dict(dataset=range(12)),
    )
    drawn = list(sampler)
    assert len(drawn) == 12  # an epoch is not longer for it
    assert sorted(drawn.count(i) for i in set(drawn)) == [3] * 4


@pytest.mark.parametrize(
    ('name', 'not_decayed'),
    [
        ('vit-base-p16_cosub_8xb256-800e_in1k-192', 'cls_token pos_embed gamma'),
        ('vit-base-p16_cosub-ft_8xb64-20e_in1k-224', 'cls_token pos_embed gamma'),
        ('swin-base-patch4-window7_cosub_16xb128-400e_in1k-224', 'bias_table'),
        ('swinv2-tiny-w7_cosub_8xb256-400e_in1k-224', 'cpb_mlp logit_scale'),
        ('pit-base_cosub_16xb128-400e_in1k-224', 'cls_token pos_embed'),
    ],
)
def test_what_is_decayed(name, not_decayed):
    cfg = config(name)
    shrink(cfg)
    model = co_trained(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {id(p): n for n, p in model.named_parameters()}
    decay = cfg.optim_wrapper.optimizer.weight_decay
    decayed = {
        names[id(p)]: p
        for group in optimizer.param_groups
        for p in group['params']
        if group['weight_decay']
    }
    assert {g['weight_decay'] for g in optimizer.param_groups} == {0, decay}
    assert all(p.ndim > 1 for p in decayed.values())
    for part in not_decayed.split():
        assert any(part in name for name in names.values())
        assert not any(part in name for name in decayed)


def test_optimizer_is_the_published_one():
    cfg = config('vit-base-p16_cosub_8xb256-800e_in1k-192')
    assert cfg.optim_wrapper.optimizer == dict(
        type='mmpretrain.Lamb', eps=1e-8, lr=3e-3, weight_decay=0.05
    )
    assert 'clip_grad' not in cfg.optim_wrapper


@pytest.mark.parametrize('name', SCHEDULES)
def test_learning_rate_over_epochs(name):
    cfg = Config.fromfile(ROOT / '_base_' / 'schedules' / f'{name}.py')
    peak, epochs = cfg.optim_wrapper.optimizer.lr, cfg.train_cfg.max_epochs
    assert re.fullmatch(r'[a-z]+_(\de-\d)_(\d+)e', name).groups() == (
        f'{peak:.0e}'.replace('e-0', 'e-'),
        str(epochs),
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    length = 4  # iterations an epoch
    schedulers = []
    for settings in cfg.param_scheduler:
        settings = {'end': epochs, **settings}  # the runner's default
        kind = PARAM_SCHEDULERS.get(settings.pop('type'))
        assert settings.pop('convert_to_iter_based')
        schedulers.append(
            kind.build_iter_from_epoch(
                **settings, optimizer=optimizer, epoch_length=length
            )
        )
    rates = []
    for _ in range(epochs * length):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5 * length] == pytest.approx(peak)
    assert max(rates) == pytest.approx(peak)
    assert np.all(np.diff(rates[5 * length :]) <= 1e-12)
    assert rates[-1] == pytest.approx(1e-5, rel=0.05)
