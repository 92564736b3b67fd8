"""Heads that classify masks, on one of that interface and on mmdetection's own."""

import copy
import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmseg.registry import MODELS
from tiny import labelled_images, segmentor_config
from torch import nn

from mmcosub.config.co_train import co_trained_model
from mmcosub.config.where import explained
from mmcosub.hooks.full_network_bn_hook import estimate_statistics
from mmcosub.models.segmentor_heads import MaskHead, labelled_fraction
from mmcosub.registry import MODELS as OURS

COSUB = dict(type='Cosub', weight=0.6, seed=7)


@OURS.register_module(name='TinyMaskHead')
class Mask2FormerHead(BaseModule):
    """Three queries over two layers, with the interface of mmseg's head."""

    def __init__(self, num_classes=5, in_channels=16, **kwargs):
        super().__init__()
        self.num_classes = self.out_channels = num_classes
        self.ignore_index, self.align_corners = 255, False
        self.queries = nn.Embedding(3, in_channels)
        self.layers = nn.ModuleList(nn.Linear(in_channels, in_channels) for _ in 'ab')
        self.cls_embed = nn.Linear(in_channels, num_classes + 1)

    def forward(self, x, batch_data_samples):
        x = x[1]
        assert len(x) == len(batch_data_samples)
        query = self.queries.weight.expand(len(x), -1, -1)
        classes, masks = [], []
        for layer in self.layers:
            query = layer(query) + x.mean(dim=(2, 3))[:, None]
            classes.append(self.cls_embed(query))
            masks.append(torch.einsum('bqc,bchw->bqhw', query, x))
        return classes, masks

    def _seg_data_to_instance_data(self, samples):
        instances = []
        for sample in samples:
            label = sample.gt_sem_seg.data
            kinds = [k for k in label.unique() if k != self.ignore_index]
            found = torch.stack([label[0] == k for k in kinds]).to(label)
            instances.append(InstanceData(labels=torch.stack(kinds), masks=found))
        return instances, [sample.metainfo for sample in samples]

    def loss_by_feat(self, classes, masks, instances, metas):
        losses = {}
        for i, (c, m) in enumerate(zip(classes, masks, strict=True)):
            target = torch.stack([x.labels[: c.shape[1]] for x in instances])
            losses[f'd{i}.loss_cls'] = F.cross_entropy(c.transpose(1, 2), target)
            losses[f'd{i}.loss_mask'] = m.sigmoid().mean()
        return losses

    def loss(self, x, samples, train_cfg):
        instances, metas = self._seg_data_to_instance_data(samples)
        return self.loss_by_feat(*self(x, samples), instances, metas)


def config():
    cfg = segmentor_config()
    cfg.update(decode_head=dict(type='mmcosub.TinyMaskHead'), auxiliary_head=None)
    return cfg


def build(cfg, scheme=None):
    init_default_scope('mmseg')
    cfg = ConfigDict(copy.deepcopy(cfg))
    torch.manual_seed(0)
    model = MODELS.build(co_trained_model(cfg, dict(scheme)) if scheme else cfg)
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.train()
    return model.double()


@pytest.mark.parametrize('loss_weight', [None, 2.0])
def test_formula(loss_weight):
    model = build(config(), COSUB)
    if loss_weight:  # of the classes of queries, as in Mask2Former's config
        loss = dict(type='CrossEntropyLoss', loss_weight=loss_weight)
        model.decode_head.loss_cls = MODELS.build(loss)
    images, samples = labelled_images(batch=3)
    seen, forward = [], model.decode_head.forward
    model.decode_head.forward = lambda *args: seen.append(forward(*args)) or seen[-1]
    losses = model.loss(images.double(), samples)
    (classes, masks) = seen[0]
    z = []
    for c, m in zip(classes[-1].chunk(2), masks[-1].chunk(2), strict=True):
        score = torch.einsum('bqc,bqhw->bchw', c.softmax(-1)[..., :-1], m.sigmoid())
        z.append((score / score.sum(1, keepdim=True)).log())
    share = labelled_fraction(model.decode_head, samples, z[0])
    taught = sum(
        (-(z[1 - i].detach().exp() * z[i]).sum(1) * share).sum() / share.sum()
        for i in range(2)
    )
    got = losses['decode.loss_co_training']
    taught *= loss_weight or 1.0
    torch.testing.assert_close(got, 0.3 * taught)
    instances, metas = model.decode_head._seg_data_to_instance_data(samples)
    for name, value in losses.items():
        if name != 'decode.loss_co_training':
            views = [
                model.decode_head.loss_by_feat(
                    [c.chunk(2)[v] for c in classes],
                    [m.chunk(2)[v] for m in masks],
                    instances,
                    metas,
                )[name.removeprefix('decode.')]
                for v in range(2)
            ]
            torch.testing.assert_close(value, 0.2 * sum(views))
    inputs = [classes[-1], masks[-1]]
    ours = torch.autograd.grad(got, inputs, retain_graph=True)
    for a, b in zip(ours, torch.autograd.grad(0.3 * taught, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_weight_and_rates_zero_is_the_stock_model():
    cfg = config()
    cfg['backbone']['drop_path_rate'] = 0.0
    images, samples = labelled_images()
    expected = build(cfg).loss(images.double(), samples)
    got = build(cfg, dict(type='Cosub', weight=0.0)).loss(images.double(), samples)
    assert got.pop('decode.loss_co_training') == 0
    assert set(got) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('scheme', ['AugPath', 'AugMask', 'GroupKnowledge'])
def test_pass_by_pass(scheme):
    model = build(config(), dict(type=scheme))
    images, samples = labelled_images(size=(64, 64))
    losses = model.loss(images.double(), samples)
    assert losses['decode.loss_co_training'] > 1e-6
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in model.decode_head.parameters())


def test_scores_of_nothing_are_the_smallest_number():
    output = (
        [torch.tensor([[[-900.0, -900.0, 0.0]]])],
        [torch.full((1, 1, 2, 2), -900.0)],
    )
    expected = torch.full((1, 2, 2, 2), -126 * math.log(2))
    z = MaskHead('decode', None, main=True, auxiliary=False).logits(output)
    torch.testing.assert_close(z, expected)


def test_without_mmdetection(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    with pytest.raises(ImportError, match=r'MaskFormerHead needs mmdetection') as info:
        co_trained_model(
            {**config(), 'decode_head': dict(type='MaskFormerHead')}, COSUB
        )
    assert explained(info.value, 'Install it.') == 'Install it.'


# In a process of its own: mmcv's compiled operators, which mmdetection imports, are not
# needed for these heads on a CPU, and something has to stand for them.
SCRIPT = """
import sys, types, copy, warnings
warnings.filterwarnings('ignore')
try:
    import mmcv._ext
except ImportError:
    stand_in = types.ModuleType('mmcv._ext')
    stand_in.__getattr__ = lambda name: None if name.startswith('__') else print
    sys.modules['mmcv._ext'] = stand_in
sys.path.insert(0, TESTS)
from mmcosub.stack import import_stack_quietly
import_stack_quietly()
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import BACKBONES, labelled_images
from mmcosub.config.co_train import co_trained_model
init_default_scope('mmseg')
cfg = Config.fromfile(CONFIG).model
arch = dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[2, 4, 4, 4])
cfg.backbone = dict(BACKBONES['mmpretrain Swin'], arch=arch, out_indices=(0, 1, 2, 3))
head = cfg.decode_head
head.in_channels = [8, 16, 32, 64]
head.num_classes, head.num_queries = 5, 6
head.loss_cls.class_weight = [1.0] * 5 + [0.1]
cfg.data_preprocessor = None
images, samples = labelled_images(size=(64, 64))
for sample in samples:
    sample.set_metainfo(dict(batch_input_shape=(64, 64)))
losses = {}
for name, rate, scheme in (('stock', 0.0, None), ('none', 0.0, dict(weight=0.0)),
                           ('cosub', 0.4, dict(weight=0.5))):
    settings = copy.deepcopy(cfg)
    settings.backbone.drop_path_rate = rate
    if scheme is not None:
        settings = co_trained_model(settings, dict(type='Cosub', seed=3, **scheme))
    torch.manual_seed(0)
    model = MODELS.build(settings)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    torch.manual_seed(1)
    losses[name] = model.loss(images, samples)
    model.parse_losses(losses[name])[0].backward()
assert set(losses['stock']) == set(losses['none']) - {'decode.loss_co_training'}
for key, value in losses['stock'].items():
    # Mask2Former compares masks, in its matching, too, at points drawn at random.
    at_random = 'mask2former' in CONFIG
    if not at_random or 'loss_cls' in key:
        tolerance = 1e-2 if at_random else 1e-4
        torch.testing.assert_close(
            losses['none'][key], value, rtol=tolerance, atol=1e-5
        )
assert losses['cosub']['decode.loss_co_training'] > 1e-6
print('taught')
"""


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['maskformer/maskformer', 'mask2former/mask2former'])
def test_heads_of_mmdetection(kind):
    if importlib.util.find_spec('mmdet') is None:
        pytest.skip('needs onedl-mmdetection')
    name = f'{kind}_r50_8xb2-160k_ade20k-512x512.py'
    file = Path(mmseg.__file__).parent / '.mim' / 'configs' / name
    if not file.is_file():
        file = file.with_name(file.name.replace('_r50_', '_r50-d32_'))
    names = f'CONFIG = {str(file)!r}; TESTS = {str(Path(__file__).parents[1])!r}'
    command = [sys.executable, '-c', f'{names}\n{SCRIPT}']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ['taught'], done.stderr


def test_statistics_of_the_full_network():
    """Re-estimated where upstream's forward needs more than images."""
    model = build(config(), dict(type='GroupKnowledge')).float()
    norm = model.backbone.norm = nn.BatchNorm2d(3)
    model.backbone.register_forward_pre_hook(lambda _, images: norm(*images))
    images, samples = labelled_images()
    estimate_statistics(model, [dict(inputs=[*images], data_samples=samples)])
    torch.testing.assert_close(norm.running_mean, images.mean(dim=(0, 2, 3)))
