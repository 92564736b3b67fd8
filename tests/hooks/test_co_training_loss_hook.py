import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from tiny import labelled_images, segmentor_config
from torch.utils.data import Dataset

from mmcosub.hooks.co_training_loss_hook import CoTrainingLossHook


class Images(Dataset):
    metainfo: dict = {}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        images, samples = labelled_images(1, seed=index)
        return dict(inputs=images[0], data_samples=samples[0])


@pytest.fixture
def runner(tmp_path):
    def make(iterations, resume=False, name='a', scheme=None, **hook):
        init_default_scope('mmseg')
        cfg = segmentor_config()
        if scheme is not False:
            cfg['type'] = 'mmcosub.CoTrainingEncoderDecoder'
            cfg['scheme'] = scheme or dict(type='Cosub', drop_path_rate=0.3)
        torch.manual_seed(0)
        return Runner(
            model=MODELS.build(cfg),
            work_dir=str(tmp_path / name),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                dataset=Images(),
                sampler=dict(type='InfiniteSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate'),
            ),
            train_cfg=dict(by_epoch=False, max_iters=iterations),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)
            ),
            custom_hooks=[dict(type='mmcosub.CoTrainingLossHook', **hook)],
            default_scope='mmseg',
            randomness=dict(seed=0),
            resume=resume,
            experiment_name=f'{tmp_path.name}-{name}-{iterations}-{resume}',
        )

    return make


def test_logs_what_views_do(runner):
    run = runner(3, ramp=1)
    run.train()
    scalars = run.message_hub.log_scalars
    for key in ('label_view0', 'label_view1', 'co_training', 'agreement', 'ramp'):
        assert len(scalars[f'train/{key}'].data[0]) == 3, key
    assert 0 < scalars['train/branch_work'].current() < 1


def test_a_log_line_has_means_as_of_losses(runner):
    run = runner(3, ramp=4)
    run.train()
    scalars = run.message_hub.log_scalars
    logged, _ = run.log_processor.get_log_after_iter(run, 2, 'train')
    for key in ('loss', 'label_view0', 'co_training', 'agreement', 'branch_work'):
        values = scalars[f'train/{key}'].data[0]
        assert values.max() > values.min()
        assert logged[key] == pytest.approx(values.mean()), key
    assert logged['ramp'] == pytest.approx(3 / 5)


def test_plans_go_on_after_resuming(runner):
    whole = runner(4, name='whole')
    whole.train()
    runner(2, name='halves').train()
    second = runner(4, resume=True, name='halves')
    second.train()
    assert second.model.plans_drawn == whole.model.plans_drawn == 4
    assert second.model.plan_seed == whole.model.plan_seed

    def work(run):
        return run.message_hub.log_scalars['train/branch_work'].data[0][-2:]

    assert work(second) == pytest.approx(work(whole))


def test_checkpoint_holds_the_stock_state(runner, tmp_path):
    run = runner(2, name='saved')
    run.train()
    checkpoint = torch.load(tmp_path / 'saved' / 'iter_2.pth', weights_only=False)
    init_default_scope('mmseg')
    stock = MODELS.build(segmentor_config())
    assert set(checkpoint['state_dict']) == set(stock.state_dict())


def test_ramp(runner):
    run = runner(5, ramp=3)
    run.train()
    scalars = run.message_hub.log_scalars
    factors = scalars['train/ramp'].data[0]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_bad_arguments():
    with pytest.raises(ValueError, match='ramp=-1'):
        CoTrainingLossHook(ramp=-1)


def test_model_without_scheme(runner):
    with pytest.raises(ValueError, match=r'not EncoderDecoder.*--co-train'):
        runner(1, scheme=False).train()
