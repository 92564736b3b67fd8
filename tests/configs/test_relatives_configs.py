"""Classification configs of cosub's relatives train and predict, at reduced size."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from mmcosub.config.co_train import RUNNER, co_trained_model
from mmcosub.config.loading import find_config

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob('*_in1k-224.py')
    if path.parent.name != 'cosub_pretrain'
)
MAE = {
    'vit-base-p16-mae-pre_augmask-ft_8xb128-100e': (5e-4, 0.65, 0.1),
    'vit-large-p16-mae-pre_augmask-ft_8xb128-50e': (1e-3, 0.75, 0.2),
    'vit-huge-p14-mae-pre_augmask-ft_8xb128-50e': (1e-3, 0.75, 0.3),
}
"""Learning rate for 256 images, layer decay and drop-path rate, as published."""


def shrink(model):
    """The same model with few channels, blocks and classes."""
    backbone = model.backbone
    kind = backbone.type.rpartition('.')[2]
    if kind == 'VisionTransformer':
        backbone.arch = dict(
            embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32
        )
        channels = 16
    elif kind == 'SwinTransformer':
        backbone.arch = dict(embed_dims=8, depths=[1, 1, 3, 1], num_heads=[1, 2, 4, 8])
        backbone.pad_small_map = True
        channels = 64
    else:
        assert kind == 'ResNet'
        backbone.update(stem_channels=8, base_channels=8, norm_cfg=dict(type='BN'))
        channels = 256
    if kind != 'ResNet':
        backbone.img_size = 64
    model.head.update(in_channels=channels, num_classes=10)
    if 'num_classes' in model.head.loss:
        model.head.loss.num_classes = 10


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.sweep(every=3)
def test_one_step_of_each(name):
    cfg = Config.fromfile(ROOT / name)
    assert cfg.runner_type == RUNNER
    init_default_scope(cfg.default_scope)
    shrink(cfg.model)
    cfg.model.data_preprocessor = dict(num_classes=10)
    torch.manual_seed(0)
    model = MODELS.build(co_trained_model(copy.deepcopy(cfg.model), cfg.scheme))
    model.train()
    binary = cfg.model.head.loss.type == 'mmcosub.BinaryCrossEntropyLoss'
    assert (model.scheme.soft_loss.activation == 'sigmoid') == binary
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(4)]
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    data = model.data_preprocessor(dict(inputs=images), False)
    assert model(**data).shape == (4, 10)


def test_all_methods_and_networks_are_there():
    networks = 7 * 3 - 1  # a ResNet has no dropout for AugDrop
    assert len(CONFIGS) == networks + len(MAE)


def test_augsub_runs_view_after_view():
    configs = sorted((ROOT / 'augsub').glob('*.py'))
    assert len(configs) == 17
    assert all(Config.fromfile(config).scheme.lean for config in configs)


@pytest.mark.parametrize(('name', 'values'), MAE.items())
def test_fine_tuning_after_mae(name, values):
    cfg = Config.fromfile(ROOT / 'augsub' / f'{name}_in1k-224.py')
    rate, decay, drop_path = values
    optim = cfg.optim_wrapper
    images = cfg.auto_scale_lr.base_batch_size
    assert images == 8 * cfg.train_dataloader.batch_size == 1024
    assert optim.optimizer.lr == pytest.approx(rate * images / 256)
    assert optim.paramwise_cfg.layer_decay_rate == decay
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert (cfg.scheme.type, cfg.scheme.ratio) == ('mmcosub.AugMask', 0.5)
    assert cfg.train_cfg.max_epochs == int(name[-4:-1].lstrip('-'))
    # Weights of MMPretrain's run of the same network.
    run = Path(cfg.model.backbone.init_cfg.checkpoint).parent.name
    before = Config.fromfile(find_config(f'mmpretrain::mae/{run}.py'))
    arch = before.model.backbone.get('arch')
    assert arch.replace('mae-', '') in (cfg.model.backbone.arch, arch[0])
    assert before.model.backbone.get('patch_size', 16) == cfg.model.backbone.patch_size


def test_layer_decay_of_fine_tuning_after_mae():
    name = 'augsub/vit-base-p16-mae-pre_augmask-ft_8xb128-100e_in1k-224.py'
    cfg = Config.fromfile(ROOT / name)
    init_default_scope(cfg.default_scope)
    shrink(cfg.model)
    model = MODELS.build(co_trained_model(cfg.model, cfg.scheme))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {id(p): n for n, p in model.named_parameters()}
    rates = {names[id(g['params'][0])]: g['lr'] for g in optimizer.param_groups}
    # The head, behind 3 blocks, before which is the stem.
    assert rates['head.fc.weight'] == pytest.approx(2e-3)
    for i in range(3):
        of_block = rates[f'backbone.layers.{i}.attn.qkv.weight']
        assert of_block == pytest.approx(2e-3 * 0.65 ** (3 - i))
    assert rates['backbone.pos_embed'] == pytest.approx(2e-3 * 0.65**4)
