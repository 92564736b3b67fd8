import copy
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.models.decode_heads import FCNHead, PIDHead, PointHead
from mmseg.registry import MODELS
from tiny import BACKBONES, labelled_images, segmentor_config
from torch import nn

from mmcosub.models import CoTrainingCascadeEncoderDecoder, CoTrainingEncoderDecoder
from mmcosub.models.segmentor_heads import labelled_fraction, prediction_logits
from mmcosub.models.segmentors import list_heads
from mmcosub.registry import HOOKS  # noqa: F401  (the scope, for 'mmcosub.' names)


def build(cfg, scheme=None, seed=0):
    """A stock segmentor, or the same under a scheme."""
    from mmengine.registry import init_default_scope

    init_default_scope('mmseg')
    cfg = ConfigDict(copy.deepcopy(cfg))
    if scheme is not None:
        cfg.update(type=f'mmcosub.CoTraining{cfg["type"]}', scheme=scheme)
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.train()
    return model


def total(model, losses):
    return model.parse_losses(losses)[0]


def gradients(model, losses):
    model.zero_grad()
    total(model, losses).backward()
    return {name: p.grad for name, p in model.named_parameters()}


COSUB = dict(type='Cosub', drop_path_rate=0.3)


@pytest.mark.parametrize('name', BACKBONES)
def test_weight_and_rates_zero_is_the_stock_model(name):
    cfg = segmentor_config(name)
    cfg['backbone']['drop_path_rate'] = 0.0
    stock, ours = build(cfg), build(cfg, dict(type='Cosub', weight=0.0))
    images, samples = labelled_images()
    expected, got = stock.loss(images, samples), ours.loss(images, samples)
    assert got.pop('decode.loss_co_training') == 0
    assert set(got) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, rtol=1e-6, atol=1e-6)
    grads = gradients(ours, got)
    for key, grad in gradients(stock, expected).items():
        torch.testing.assert_close(grads[key], grad, rtol=1e-4, atol=1e-5)


def reference_loss(model, images, samples, weight):
    """Cosub written from its formula, plain: two passes, masks and all."""
    from mmcosub.submodels import plan_generator, run_submodels

    rng = plan_generator(model.plan_seed, model.plans_drawn)
    plan = model.scheme.draw(model.sites, len(images), rng)
    # BatchNorm in the heads sees both views, as when they travel as one batch.
    features, _ = run_submodels(model.backbone, images, plan, model.sites, 'plain')
    loss = 0
    for head, factor in ((model.decode_head, 1.0), (model.auxiliary_head, 0.0)):
        z = head(features).chunk(2)
        target = torch.cat([s.gt_sem_seg.data for s in samples])
        for i in range(2):
            up = nn.functional.interpolate(z[i], target.shape[-2:], mode='bilinear')
            ce = nn.functional.cross_entropy(
                up, target, ignore_index=255, reduction='none'
            ).mean()  # mmseg divides by all pixels, ignored ones too
            loss = loss + (1 - weight) / 2 * ce * head.loss_decode.loss_weight
            p = z[1 - i].detach().softmax(1)
            share = labelled_fraction(head, samples, z[i])
            soft = -(p * z[i].log_softmax(1)).sum(1)
            loss = loss + factor * weight / 2 * (soft * share).mean()
    return loss


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('weight', [0.5, 0.8])
def test_reference(name, weight):
    model = build(segmentor_config(name), dict(COSUB, weight=weight)).double()
    images, samples = labelled_images(batch=3)
    expected = reference_loss(model, images.double(), samples, weight)
    grads = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
    losses = model.loss(images.double(), samples)
    torch.testing.assert_close(total(model, losses), expected, rtol=1e-10, atol=1e-10)
    got = gradients(model, losses)
    for (key, grad), want in zip(got.items(), grads, strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-8, atol=1e-8, msg=key)


def test_executions_agree():
    images, samples = labelled_images(batch=3)
    losses = {}
    for execution in ('plain', 'kept_rows', 'shared_prefix', 'auto'):
        model = build(segmentor_config(), dict(COSUB, execution=execution, seed=7))
        losses[execution] = total(model, model.loss(images, samples)).item()
    assert len({round(value, 5) for value in losses.values()}) == 1, losses


HEADS = {
    'FCNHead': dict(num_convs=1),
    'PSPHead': dict(pool_scales=(1, 2)),
    'ASPPHead': dict(dilations=(1, 2)),
    'SegformerHead': dict(in_channels=[8, 16], in_index=[0, 1]),
    'DAHead': dict(pam_channels=4),
    'EncHead': dict(
        in_channels=[8, 16],
        in_index=[0, 1],
        num_codes=4,
        loss_se_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    'FPNHead': dict(in_channels=[8, 8], in_index=[0, 1], feature_strides=[4, 8]),
    'DNLHead': dict(),
}


@pytest.mark.parametrize('kind', HEADS)
def test_other_heads(kind):
    cfg = segmentor_config()
    cfg['decode_head'] = dict(
        dict(
            type=kind,
            in_channels=16,
            in_index=1,
            channels=8,
            num_classes=5,
            norm_cfg=dict(type='BN'),
            loss_decode=dict(type='CrossEntropyLoss'),
        ),
        **HEADS[kind],
    )
    if kind == 'FPNHead':
        cfg['neck'] = dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2)
        cfg['auxiliary_head'] = None
    model = build(cfg, COSUB)
    losses = model.loss(*labelled_images())
    assert losses['decode.loss_co_training'] > 0
    stock = build(cfg)
    without = {
        name
        for name, grad in gradients(stock, stock.loss(*labelled_images())).items()
        if grad is None
    }
    for name, grad in gradients(model, losses).items():
        # Levels that the head leaves out have no gradient in the stock model either.
        assert (grad is None) == (name in without), name
        assert grad is None or torch.isfinite(grad).all(), name


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='DiceLoss'),
        dict(type='LovaszLoss', reduction='none'),
        dict(type='TverskyLoss'),
        dict(type='CrossEntropyLoss', use_sigmoid=True),
        [dict(type='CrossEntropyLoss'), dict(type='DiceLoss', loss_name='loss_dice')],
    ],
    ids=str,
)
def test_other_losses(loss):
    cfg = segmentor_config()
    cfg['decode_head']['loss_decode'] = loss
    model = build(cfg, COSUB)
    images, samples = labelled_images()
    seen = []
    head = model.decode_head
    head.conv_seg.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = model.loss(images, samples)
    views = [head.loss_by_feat(z, samples) for z in seen[0].chunk(2)]
    for name in views[0].keys() - {'acc_seg'}:
        expected = 0.25 * sum(view[name].mean() for view in views)
        torch.testing.assert_close(losses[f'decode.{name}'].mean(), expected)


def cascade_config():
    cfg = segmentor_config()
    cfg.update(type='CascadeEncoderDecoder', num_stages=2, auxiliary_head=None)
    common = dict(
        in_channels=16,
        in_index=1,
        channels=8,
        num_classes=5,
        norm_cfg=dict(type='BN'),
        dropout_ratio=0.0,
    )
    cfg['decode_head'] = [
        dict(
            type='FCNHead',
            num_convs=1,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
            **common,
        ),
        dict(type='OCRHead', ocr_channels=8, **common),
    ]
    return cfg


def test_cascade():
    cfg = cascade_config()
    cfg['backbone']['drop_path_rate'] = 0.0
    stock, ours = build(cfg), build(cfg, dict(type='Cosub', weight=0.0))
    assert isinstance(ours, CoTrainingCascadeEncoderDecoder)
    images, samples = labelled_images()
    expected, got = stock.loss(images, samples), ours.loss(images, samples)
    assert got.pop('decode_1.loss_co_training') == 0
    assert set(got) == set(expected)
    torch.testing.assert_close(total(ours, got), total(stock, expected))

    losses = build(cascade_config(), dict(COSUB, auxiliary=True)).loss(images, samples)
    assert losses['decode_0.loss_co_training'] > 0
    assert losses['decode_1.loss_co_training'] > 0


@pytest.fixture
def points(monkeypatch):
    """MMCV's sampling of points, which is Python among compiled operators."""

    def point_sample(values, points, align_corners=False, mode='bilinear'):
        grid = 2 * points.to(values).unsqueeze(2) - 1
        return F.grid_sample(values, grid, mode, align_corners=align_corners)[..., 0]

    module = 'mmseg.models.decode_heads.point_head'
    monkeypatch.setattr(f'{module}.point_sample', point_sample)
    draw = PointHead.get_points_train

    def same_points(*args, **kwargs):
        torch.manual_seed(5)
        return draw(*args, **kwargs)

    monkeypatch.setattr(PointHead, 'get_points_train', same_points)


def point_config():
    cfg = cascade_config()
    cfg['decode_head'][1] = dict(
        type='PointHead',
        in_channels=[8],
        in_index=[0],
        channels=8,
        num_classes=5,
        dropout_ratio=0.0,
    )
    settings = dict(num_points=16, oversample_ratio=3, importance_sample_ratio=0.75)
    cfg['train_cfg'] = ConfigDict(settings)
    return cfg


def test_refined_points_without_views_are_stock(points):
    cfg = point_config()
    cfg['backbone']['drop_path_rate'] = 0.0
    stock, ours = build(cfg), build(cfg, dict(type='Cosub', weight=0.0))
    images, samples = labelled_images()
    found = []
    for model in (stock.double(), ours.double()):
        losses = model.loss(images.double(), samples)
        losses.pop('decode_0.loss_co_training', None)
        grads = {n: g for n, g in gradients(model, losses).items() if g is not None}
        found.append((losses, grads))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('scheme', ['Cosub', 'Stimulative'])
def test_what_comes_before_refined_points_is_taught(points, scheme):
    kwargs = {} if scheme == 'Stimulative' else dict(drop_path_rate=0.4)
    model = build(point_config(), dict(type=scheme, auxiliary=True, **kwargs))
    losses = model.loss(*labelled_images())
    taught = [key for key in losses if 'co_training' in key]
    assert taught == ['decode_0.loss_co_training']
    assert losses['decode_0.loss_co_training'] > 0
    grads = gradients(model, losses)
    assert all(g.any() for n, g in grads.items() if n.startswith('decode_head.1'))


def test_auxiliary_heads_co_train_on_request():
    images, samples = labelled_images()
    without = build(segmentor_config(), COSUB).loss(images, samples)
    model = build(segmentor_config(), dict(COSUB, auxiliary=True))
    assert 'aux.loss_co_training' not in without
    assert model.loss(images, samples)['aux.loss_co_training'] > 0


def boundary_config():
    """With an auxiliary head of one channel, STDC's of boundaries."""
    cfg = segmentor_config()
    head = dict(
        type='STDCHead',
        in_channels=16,
        in_index=1,
        channels=8,
        num_convs=1,
        concat_input=False,
        num_classes=2,
        out_channels=1,
        boundary_threshold=0.1,
        threshold=0.3,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        dropout_ratio=0.0,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
    )
    cfg['auxiliary_head'] = [cfg['auxiliary_head'], head]
    return cfg


def binary_auxiliary_config():
    """With an auxiliary head of the same classes, each by its own sigmoid."""
    cfg = segmentor_config()
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    cfg['auxiliary_head']['loss_decode'] = loss
    return cfg


AMONG_HEADS = dict(type='Collaboration', output=0.0, intermediate=0.8)


@pytest.mark.parametrize(
    ('config', 'scheme', 'message'),
    [
        (boundary_config, dict(COSUB, auxiliary=True), r'STDCHead \(aux_1\)'),
        (binary_auxiliary_config, dict(COSUB, auxiliary=True), r'FCNHead \(aux\)'),
        (binary_auxiliary_config, AMONG_HEADS, r'FCNHead \(aux\)'),
    ],
)
def test_heads_of_other_functions_are_not_taught(config, scheme, message):
    instead = 'intermediate=0' if scheme is AMONG_HEADS else 'auxiliary=False'
    with pytest.raises(
        ValueError, match=rf'{message} .*a sigmoid, .* a softmax.*scheme.{instead}'
    ):
        build(config(), scheme)
    build(config(), COSUB)  # where they are not to be taught


def test_heads_of_the_same_function_are_taught():
    cfg = binary_auxiliary_config()
    cfg['decode_head']['loss_decode'] = cfg['auxiliary_head']['loss_decode']
    images, samples = labelled_images()
    losses = build(cfg, dict(COSUB, auxiliary=True)).loss(images, samples)
    assert losses['aux.loss_co_training'] > 0
    assert build(cfg, AMONG_HEADS).loss(images, samples)['loss_heads'] > 0


def test_heads_of_other_classes_are_left_out_of_consistency():
    images, samples = labelled_images()
    cfg = boundary_config()
    model = build(cfg, dict(AMONG_HEADS, seed=7))
    got = model.loss(images, samples)['loss_heads']
    del model.auxiliary_head[1]
    model.plans_drawn = 0  # the same submodel again
    expected = model.loss(images, samples)['loss_heads']
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert expected > 0
    cfg['auxiliary_head'] = cfg['auxiliary_head'][1]
    with pytest.raises(ValueError, match=r'needs an auxiliary head.*every pixel'):
        build(cfg, AMONG_HEADS)


def test_refined_points_are_no_second_head(points):
    with pytest.raises(ValueError, match=r'needs an auxiliary head.*every pixel'):
        build(point_config(), AMONG_HEADS)
    losses = build(cascade_config(), AMONG_HEADS).loss(*labelled_images())
    assert losses['loss_heads'] > 0


def test_head_without_logits_is_refused():
    cfg = cascade_config()
    model = build(cfg, COSUB)

    class OtherHead(type(model.decode_head[1])):
        def loss(self, inputs, prev_output, batch_data_samples, train_cfg):
            return {}

    model.decode_head[1].__class__ = OtherHead
    with pytest.raises(ValueError, match=r'OtherHead \(decode_1\).*UPerHead'):
        list_heads(model)


def with_head(outputs, auxiliary=False):
    """A config with a head of a user's own, and its class."""

    class TheirHead(FCNHead):
        def forward(self, inputs):
            self.features = self._forward_feature(inputs)
            self.logits = self.cls_seg(self.features)
            return outputs(self)

        def loss_by_feat(self, outputs, samples):
            return dict(loss_ce=self.logits.mean())

        def split_loss(self, outputs, samples):
            return super().loss_by_feat(outputs[0], samples)

    cfg = segmentor_config()
    if not auxiliary:
        cfg['decode_head'] = dict(cfg['auxiliary_head'])
    cfg['auxiliary_head' if auxiliary else 'decode_head']['type'] = 'TheirHead'
    return cfg, TheirHead


def test_outputs_besides_logits(monkeypatch):
    """What is no tensor, or a map of its own, goes to each view's losses."""
    cfg, kind = with_head(lambda head: (head.logits, None, head.features))
    kind.loss_by_feat = kind.split_loss
    monkeypatch.setitem(MODELS._module_dict, 'TheirHead', kind)
    images, samples = labelled_images()
    got = build(cfg, COSUB).loss(images, samples)
    plain = {**cfg, 'decode_head': {**cfg['decode_head'], 'type': 'FCNHead'}}
    torch.testing.assert_close(got, build(plain, COSUB).loss(images, samples))


@pytest.mark.parametrize(
    ('outputs', 'message'),
    [
        (
            lambda head: (head.features, head.logits),
            r'TheirHead \(decode\) has no logits',
        ),
        (
            lambda head: dict(seg=head.logits),
            'Make its forward return them alone, or first',
        ),
        (lambda head: (head.logits, head.conv_seg.weight), r'\(5, 8, 1, 1\)'),
        (lambda head: (head.logits, head.logits.mean()), r'of shape \(\), whose rows'),
    ],
)
def test_logits_that_are_not_where_they_are_looked_for(outputs, message, monkeypatch):
    """Something else would be taught, or an internal error be raised."""
    cfg, kind = with_head(outputs)
    monkeypatch.setitem(MODELS._module_dict, 'TheirHead', kind)
    with pytest.raises(ValueError, match=message):
        build(cfg, COSUB).loss(*labelled_images())


def test_heads_that_are_not_taught_put_out_what_they_like(monkeypatch):
    cfg, kind = with_head(lambda head: dict(seg=head.logits), auxiliary=True)
    kind.loss_by_feat = lambda head, outputs, _: dict(loss=outputs['seg'].mean())
    monkeypatch.setitem(MODELS._module_dict, 'TheirHead', kind)
    losses = build(cfg, COSUB).loss(*labelled_images())
    assert losses['decode.loss_co_training'] > 0
    with pytest.raises(ValueError, match=r'TheirHead \(aux\) has no logits'):
        build(cfg, dict(COSUB, auxiliary=True)).loss(*labelled_images())


@pytest.mark.parametrize('execution', ['auto', 'drop_path'])
def test_loss_in_evaluation_mode(execution):
    """Of a validation before training: the views are the network, as it is."""
    images, samples = labelled_images()
    model = build(segmentor_config(), dict(COSUB, weight=0.0, execution=execution))
    stock = build(segmentor_config()).eval()
    with torch.no_grad():
        got = model.eval().loss(images, samples)
        assert got.pop('decode.loss_co_training') == 0
        torch.testing.assert_close(got, stock.loss(images, samples))
    model.train().backbone.eval()
    with pytest.raises(ValueError, match='Every block of the backbone is frozen'):
        model.loss(images, samples)


def test_telemetry():
    model = build(segmentor_config(), COSUB)
    losses = model.loss(*labelled_images())
    telemetry = model.telemetry
    assert set(telemetry) == {
        'agreement',
        'branch_work',
        'co_training',
        'label_view0',
        'label_view1',
    }
    labels = (telemetry['label_view0'] + telemetry['label_view1']) / 4
    torch.testing.assert_close(losses['decode.loss_ce'].detach(), labels)
    assert 0 <= telemetry['agreement'] <= 1
    assert 0 < telemetry['branch_work'] < 1
    assert not any(value.requires_grad for value in telemetry.values())


def test_telemetry_of_a_loss_of_every_pixel():
    telemetry = []
    for reduction in ('none', 'mean'):
        cfg = segmentor_config()
        cfg['decode_head']['loss_decode']['reduction'] = reduction
        model = build(cfg, dict(COSUB, seed=3))
        model.loss(*labelled_images())
        telemetry.append(model.telemetry)
    torch.testing.assert_close(*telemetry)


def test_labelled_share():
    head = build(segmentor_config()).decode_head
    _, samples = labelled_images(size=(8, 8))
    share = labelled_fraction(head, samples, torch.zeros(2, 5, 2, 2))
    # Three of the upper four rows of pixels are ignored.
    assert torch.equal(share, torch.tensor([[0.25, 0.25], [1.0, 1.0]]).repeat(2, 1, 1))


def test_unlabelled_images_do_not_break():
    model = build(segmentor_config(), COSUB)
    images, samples = labelled_images()
    for sample in samples:
        sample.gt_sem_seg.data.fill_(255)
    losses = model.loss(images, samples)
    assert total(model, losses) == 0
    assert not any(grad.any() for grad in gradients(model, losses).values())


def test_evaluation_is_the_stock_models():
    cfg = segmentor_config()
    stock, ours = build(cfg), build(cfg, COSUB)
    stock.eval(), ours.eval()
    images, samples = labelled_images()
    with torch.no_grad():
        for mode in ('tensor', 'predict'):
            a = stock(images, samples, mode=mode)
            b = ours(images, samples, mode=mode)
            if mode == 'predict':
                a, b = (torch.stack([s.seg_logits.data for s in x]) for x in (a, b))
            assert torch.equal(a, b)


def test_checkpoint_is_stock(tmp_path):
    """It loads strictly where mmcosub cannot be imported, and predicts the same."""
    cfg = segmentor_config()
    model = build(cfg, COSUB)
    images, samples = labelled_images()
    total(model, model.loss(images, samples)).backward()
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    model.eval()
    with torch.no_grad():
        logits = model(images, mode='tensor')
    torch.save(
        dict(state_dict=model.state_dict(), images=images, logits=logits),
        tmp_path / 'checkpoint.pth',
    )
    script = f"""
        import sys
        sys.modules['mmcosub'] = None  # importing it raises ImportError
        import torch
        from mmengine.registry import init_default_scope
        from mmseg.registry import MODELS
        init_default_scope('mmseg')
        model = MODELS.build({cfg!r})
        saved = torch.load({str(tmp_path / 'checkpoint.pth')!r})
        model.load_state_dict(saved['state_dict'], strict=True)
        model.eval()
        with torch.no_grad():
            assert torch.equal(model(saved['images'], mode='tensor'), saved['logits'])
        print('same')
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.endswith('same\n'), done.stderr


def test_state_and_copies():
    model = build(segmentor_config(), COSUB)
    assert isinstance(model, CoTrainingEncoderDecoder)
    names = set(build(segmentor_config()).state_dict())
    assert set(model.state_dict()) == names
    twin = copy.deepcopy(model)
    blocks = {id(block) for block in twin.modules()}
    assert all(id(site.block) in blocks for site in twin.sites)


def test_rate_zero_is_refused_at_construction():
    cfg = segmentor_config()
    cfg['backbone']['drop_path_rate'] = 0.0
    with pytest.raises(ValueError, match='Every drop-path rate is 0'):
        build(cfg, dict(type='Cosub'))


def test_unknown_backbone_is_refused_at_construction():
    cfg = segmentor_config()
    cfg['backbone'] = dict(type='UNet', base_channels=4)
    with pytest.raises(ValueError, match=r'UNet has no residual block.*register_block'):
        build(cfg, COSUB)


def test_same_seed_same_plans():
    images, samples = labelled_images()
    runs = []
    for seed in (1, 1, 2):
        model = build(segmentor_config(), dict(COSUB, seed=seed))
        runs.append([total(model, model.loss(images, samples)).item() for _ in 'ab'])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0][0] != runs[0][1]


@pytest.mark.filterwarnings('ignore:"dropout" is deprecated')
def test_knet_takes_the_loss_of_its_first_head():
    # It holds heads, and has no loss of its own.
    cfg = segmentor_config()
    common = dict(num_classes=5, norm_cfg=dict(type='BN'), dropout_ratio=0.0)
    first = dict(cfg['decode_head'], type='UPerHead', dropout_ratio=0.0)
    update = dict(
        type='KernelUpdateHead',
        num_classes=5,
        num_ffn_fcs=2,
        num_heads=2,
        num_mask_fcs=1,
        feedforward_channels=16,
        in_channels=8,
        out_channels=8,
        dropout=0.0,
        conv_kernel_size=1,
        with_ffn=True,
        feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
        kernel_updator_cfg=dict(
            type='KernelUpdator',
            in_channels=8,
            feat_channels=8,
            out_channels=8,
            act_cfg=dict(type='ReLU'),
            norm_cfg=dict(type='LN'),
        ),
    )
    cfg['decode_head'] = dict(
        type='IterativeDecodeHead',
        num_stages=2,
        kernel_update_head=[update, update],
        kernel_generate_head=dict(first, **common),
    )
    model = build(cfg, COSUB)
    head = list_heads(model)[0]
    assert head.activations == {'softmax'}
    assert head.weight == 1
    losses = model.loss(*labelled_images())
    assert losses['decode.loss_co_training'] > 0
    assert 'decode.loss_ce.s1' in losses


def test_heads_made_from_a_head_predict_as_it_does():
    """PIDNet's first output is of a branch that is not predicted with."""

    class Own(PIDHead):
        pass

    for kind in (PIDHead, Own):
        assert prediction_logits(kind.__new__(kind), ('p', 'i', 'd')) == 'i'
    assert prediction_logits(nn.Identity(), ('first', 'second')) == 'first'
    assert prediction_logits(nn.Identity(), ['first', 'last']) == 'last'
