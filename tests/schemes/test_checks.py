"""What no scheme can train by, one of a user's own included."""

from contextlib import nullcontext

import pytest
import torch
from stock_settings import build, segmentor, segmentor_of_convolutions
from tiny import labelled_images

from mmcosub.schemes import Scheme, Stimulative, Teaching


class Own(Scheme):
    """Two views that see the label; its own check refuses nothing."""

    label_weights = (0.5, 0.5)
    teachings = ()

    def check(self, sites):
        pass


class Disturbing(Own):
    def disturb(self, model, view, images, rng):
        return images + view, nullcontext


class Taught(Own):
    def student_loss(self, student, logits, weight=None):
        return logits[student].square().mean() * student


def trained(scheme, cfg=None, rate=0.4, **kwargs):
    """A model of a scheme that is not in the registry, and its losses."""
    cfg = cfg or segmentor()
    cfg['backbone']['drop_path_rate'] = rate
    cfg.update(type='mmcosub.CoTrainingEncoderDecoder', scheme=scheme(**kwargs))
    model = build(cfg, None)
    images, samples = labelled_images(size=(64, 32))
    return model, model.loss(images.double(), samples)


@pytest.mark.parametrize('rate', [1.0, 1.5, -0.1, float('nan')])
@pytest.mark.parametrize(
    'scheme',
    [
        dict(type='Cosub'),
        dict(type='AugPath'),  # a rate of its own, but not in the main network
        dict(type='StochasticDepth'),
        dict(type='Cosub', execution='drop_path'),
        dict(type='Stimulative'),
    ],
)
def test_rates_that_keep_nothing(scheme, rate):
    cfg = segmentor()
    cfg['backbone']['drop_path_rate'] = 0.1
    model = build(cfg, scheme)  # as a hook may do it
    for module in model.backbone.modules():
        if type(module).__name__ == 'DropPath':
            module.drop_prob = rate
    images, samples = labelled_images(size=(64, 32))
    with pytest.raises(ValueError, match=rf'rate {rate:g}, .*in \[0, 1\): lower'):
        model.loss(images.double(), samples)


def test_rates_are_refused_at_once_and_in_schemes_of_ones_own():
    with pytest.raises(ValueError, match=r'blocks\.1 drops a branch at the rate 1, '):
        trained(Own, rate=1.0)
    trained(Own, rate=1.0, drop_path_rate=0.2)  # the scheme's rate in its place


def test_what_is_asked_for_where_views_run_together(monkeypatch):
    assert trained(Taught)[1]['decode.loss_co_training'] > 0
    with pytest.raises(ValueError, match=r'Disturbing.disturb .*alone.*joint = False'):
        trained(Disturbing)
    monkeypatch.setattr(Disturbing, 'label_weights', (1.0,))
    trained(Disturbing)  # one view runs alone


def test_a_method_of_earlier_versions_is_refused():
    class Older(Own):
        def co_training_loss(self, logits, weight=None):
            return logits[0].mean()

    with pytest.raises(ValueError, match=r'Older.co_training_loss .*student_loss'):
        trained(Older)


@pytest.mark.parametrize(
    ('teaching', 'match'),
    [
        (Teaching(0, 2, 0.5), r'student=2.*views \[0, 1\] run'),
        (Teaching({0: 0.5, 3: 0.5}, 1, 0.5), r'3: 0.5.*views \[0, 1\] run'),
        (Teaching(1, 0, 0.5), r'teacher=1.*run before their students'),
    ],
)
def test_who_teaches_has_a_view_that_has_run(teaching, match):
    class Alone(Own):
        joint = False
        label_weights = (1.0, 0.0)
        teachings = (teaching,)

    with pytest.raises(ValueError, match=rf'Alone.teachings has .*{match}'):
        trained(Alone)


def test_what_is_asked_for_where_views_run_one_after_another(monkeypatch):
    for scheme in (Disturbing, Taught):
        monkeypatch.setattr(scheme, 'joint', False)
    assert trained(Taught)[1]['decode.loss_co_training'] > 0
    plain = trained(Taught, seed=3)[1]['decode.loss_ce']
    assert not torch.equal(trained(Disturbing, seed=3)[1]['decode.loss_ce'], plain)


def test_of_depths_the_model_says_how_views_run():
    class Disturbed(Stimulative):
        disturb = Disturbing.disturb

    alone, together = segmentor_of_convolutions(), segmentor()
    for head in ('decode_head', 'auxiliary_head'):
        together[head]['norm_cfg'] = dict(type='GN', num_groups=1)
    trained(Disturbed, alone)
    with pytest.raises(ValueError, match=r'Disturbed.disturb .*lean=True'):
        trained(Disturbed, together)
    trained(Disturbed, together, lean=True)
