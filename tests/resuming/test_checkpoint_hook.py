"""Checkpoint hook: what it deletes, and that there is always a checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import CheckpointHook
from numbers_run import numbers_run
from stock import runner_of

from mmcosub.checkpoints import checkpoints_in
from mmcosub.files import written_in
from mmcosub.hooks import WholeCheckpointHook


def saving(**options: Any) -> dict:
    """Default hooks of a run by epochs that saves every epoch."""
    return dict(checkpoint=dict(type='CheckpointHook', interval=1, **options))


def named(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob('*.pth'))


# ---- what a checkpoint says is not deleted ----------------------------------------

PLACES = {
    'absolute': '{outside}',
    'upwards': '../outside',
    'folder in the work directory': 'notes',
    'file in the work directory': 'epoch_7_iter_9.pth',
    'best of others': 'best_acc_epoch_7.pth',
    'link': 'link.pth',
}


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize(
    'entry', ['stopped_ckpt', 'best_ckpt', 'last_ckpt', 'keep_ckpt_ids', 'pointer']
)
@pytest.mark.sweep(every=3)
def test_nothing_that_a_checkpoint_names_is_deleted(
    entry: str, place: str, tmp_path: Path
) -> None:
    """Nor written to: only what the run wrote itself is."""
    work_dir, outside = tmp_path / 'w', tmp_path / 'outside'
    numbers_run(work_dir, 4, 1, default_hooks=saving()).train()
    for folder in (outside, work_dir / 'notes'):
        folder.mkdir()
        (folder / 'thesis.pth').write_text('mine')
    for name in ('epoch_7_iter_9.pth', 'best_acc_epoch_7.pth'):
        (work_dir / name).write_text('mine')
    (work_dir / 'link.pth').symlink_to(outside / 'thesis.pth')
    said = PLACES[place].format(outside=outside)
    if entry == 'pointer':
        (work_dir / 'last_checkpoint').write_text(said)
    else:
        checkpoint = torch.load(work_dir / 'epoch_1.pth', weights_only=False)
        value = [said] * 3 if entry == 'keep_ckpt_ids' else said
        info = checkpoint['message_hub']['runtime_info']
        info.update({entry: value, 'best_score': 0.0, f'{entry}_acc': value})
        info.update(best_score_acc=0.0)
        torch.save(checkpoint, work_dir / 'epoch_1.pth')
    before = {path for path in tmp_path.rglob('*') if 'thesis' in path.name}
    template = '{}' if entry == 'keep_ckpt_ids' else 'epoch_{}.pth'
    options = dict(max_keep_ckpts=1, filename_tmpl=template, save_best='acc')
    hooks = saving(**options, rule='greater', published_keys=['state_dict'])
    run = numbers_run(work_dir, 4, 3, default_hooks=hooks)
    run._load_from = str(work_dir / 'epoch_1.pth')
    run.register_hook(Measured(), priority='LOWEST')
    run.train()
    assert {p for p in tmp_path.rglob('*') if 'thesis' in p.name} == before
    kept = {'epoch_7_iter_9.pth', 'best_acc_epoch_7.pth', 'link.pth'}
    assert kept <= {*named(work_dir)}
    assert all((work_dir / name).read_text() == 'mine' for name in kept)
    assert len([*outside.iterdir()]) == 1
    newest = work_dir / template.format(3)
    assert torch.load(newest, weights_only=False)['meta']['epoch'] == 3


@pytest.mark.parametrize('entry', ['best_ckpt', 'keep_ckpt_ids'])
@pytest.mark.parametrize('own', [True, False])
def test_further_hooks(own: bool, entry: str, tmp_path: Path) -> None:
    """Among custom hooks, MMEngine's own too, and one derived from that."""

    class Derived(CheckpointHook):
        pass

    outside = tmp_path / 'outside'
    outside.mkdir()
    numbers_run(tmp_path / 'w', 4, 1, default_hooks=saving()).train()
    path = tmp_path / 'w' / 'epoch_1.pth'
    checkpoint = torch.load(path, weights_only=False)
    value = [str(outside)] * 3 if entry == 'keep_ckpt_ids' else str(outside)
    info = dict(best_score=0.0, **{entry: value})
    checkpoint['message_hub']['runtime_info'].update(info)
    torch.save(checkpoint, path)
    options = dict(save_best='acc', rule='greater', filename_tmpl='{}', interval=1)
    options.update(max_keep_ckpts=1)
    hook = Derived(**options) if own else dict(type='CheckpointHook', **options)
    run = numbers_run(tmp_path / 'w', 4, 2, custom_hooks=[hook])
    run.register_hook(Measured(), priority='LOWEST')
    run.train()
    assert outside.is_dir()
    assert (tmp_path / 'w' / '2').is_file()


class Measured(WholeCheckpointHook):
    """Has the run's checkpoint hooks see a better metric before every epoch."""

    def before_train(self, runner: Any) -> None:
        pass

    def before_train_epoch(self, runner: Any) -> None:
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and hook is not self:
                hook.after_val_epoch(runner, dict(acc=runner.epoch + 1.0))

    after_train_epoch = WholeCheckpointHook.before_train_epoch
    after_train = before_train_epoch


def test_before_training(config: Path, tmp_path: Path) -> None:
    """Validating saves nothing as the best; saving by hand saves."""
    run = runner_of(config, **{'default_hooks.checkpoint.save_best': 'mIoU'})
    assert 'mIoU' in run.val()
    assert not [*tmp_path.rglob('*.pth')]
    run.save_checkpoint(run.work_dir, 'sub/mine.pth')
    saved = torch.load(Path(run.work_dir, 'sub', 'mine.pth'), weights_only=False)
    assert saved['state_dict'].keys() == run.model.state_dict().keys()


# ---- what is deleted, and what stays ----------------------------------------------


@pytest.mark.parametrize('template', ['epoch_{}.pth', 'a-{:04d}.pth'])
def test_own_checkpoints_go_after_resuming_too(template: str, tmp_path: Path) -> None:
    """All but the newest, and all but the best."""
    options = dict(filename_tmpl=template, save_best='acc', rule='greater')
    for epochs, keep in ((3, 3), (5, 2)):
        hooks = saving(max_keep_ckpts=keep, **options)
        run = numbers_run(tmp_path, 4, epochs, default_hooks=hooks)
        run.register_hook(Measured(), priority='LOWEST')
        run.train()
        best = f'best_acc_{template.format(epochs)}'
        kept = [template.format(i) for i in range(epochs - keep + 1, epochs + 1)]
        assert named(tmp_path) == sorted([best, *kept])
        info = torch.load(tmp_path / kept[-1], weights_only=False)['message_hub']
        steps = [*range(epochs - keep + 1, epochs + 1)]
        assert info['runtime_info']['keep_ckpt_ids'] == steps
    assert {*written_in(tmp_path)} == {*named(tmp_path)}


@pytest.mark.parametrize('resumed', ['epoch_1.pth', 'link.pth', ''])
def test_checkpoints_of_another_run_stay(
    resumed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was there before, and what was trained before going back."""
    numbers_run(tmp_path, 4, 5, default_hooks=saving()).train()
    run = numbers_run(tmp_path, 4, 3, default_hooks=saving(max_keep_ckpts=1))
    run._resume, run._load_from = bool(resumed), None
    if resumed:
        monkeypatch.chdir(tmp_path)
        Path('link.pth').symlink_to('epoch_1.pth')
        run._load_from = resumed
    run.train()
    assert written_in(tmp_path) == ['epoch_3.pth']
    others = ['epoch_4.pth', 'epoch_5.pth', *(['link.pth'] if resumed else [])]
    # Those of the same names are replaced, as always; of epoch 1 the run goes on.
    assert named(tmp_path) == ['epoch_3.pth', *others]
    assert checkpoints_in(tmp_path)[0].name == 'epoch_3.pth'


@pytest.mark.parametrize('resume', [True, False])
def test_checkpoints_that_will_be_replaced_are_announced(
    resume: bool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    for epochs in (1, 2):
        run = numbers_run(tmp_path, 4, epochs, default_hooks=saving())
        run._resume &= resume
        run.train()
    said = ' '.join(capfd.readouterr())
    assert said.count('has 1 other checkpoints') == (not resume)


@pytest.mark.parametrize('keep', [-1, 1, 2])
def test_one_name_for_all(keep: int, tmp_path: Path) -> None:
    hooks = saving(filename_tmpl='latest.pth', max_keep_ckpts=keep)
    numbers_run(tmp_path, 4, 3, default_hooks=hooks).train()
    assert named(tmp_path) == ['latest.pth']
    meta = torch.load(tmp_path / 'latest.pth', weights_only=False)['meta']
    assert meta['epoch'] == 3


def test_checkpoint_of_a_stop_goes_on_whatever_others_lack(tmp_path: Path) -> None:
    """After an epoch, too, of which there is one without the optimizer."""
    lacking = saving(save_optimizer=False, save_param_scheduler=False)
    schedule = [dict(type='LinearLR', start_factor=0.5, begin=0, end=3)]
    cfg = dict(default_hooks=lacking, param_scheduler=schedule)
    for stop in (3, 1):
        with pytest.raises(SystemExit):
            numbers_run(tmp_path, 4, 2, stop=stop, **cfg).train()
    assert named(tmp_path) == ['epoch_1.pth', 'epoch_1_iter_4.pth']
    numbers_run(tmp_path, 4, 2, **cfg).train()
    assert named(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']


def test_checkpoint_of_a_stop_goes_with_the_next(tmp_path: Path) -> None:
    run = numbers_run(tmp_path, 4, 2, stop=3, default_hooks=saving())
    with pytest.raises(SystemExit):
        run.train()
    assert named(tmp_path) == ['epoch_0_iter_3.pth']
    numbers_run(tmp_path, 4, 2, default_hooks=saving()).train()
    assert named(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        *((dict(interval=i), r'interval must be .* 1 or more') for i in (0, -1, True)),
        *((dict(max_keep_ckpts=k), r'max_keep_ckpts must be') for k in (0, -2, 1.0)),
        *(
            (dict(filename_tmpl=t), r'filename_tmpl=.*iter_\{\}\.pth')
            for t in ('', '{}{}', '{name}', '/a/{}.pth', 'a/{}.pth', 'a\n{}', 3)
        ),
        (dict(intervall=3), 'no setting'),
    ],
)
def test_settings_under_which_checkpoints_would_be_lost(
    options: dict, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        WholeCheckpointHook(**options)


@pytest.mark.parametrize(
    'options', [{}, dict(interval=3), dict(interval=2, save_begin=3)]
)
def test_training_without_a_checkpoint(options: dict, tmp_path: Path) -> None:
    checkpoint = dict(type='CheckpointHook', save_last=False, **options)
    run = numbers_run(tmp_path, 4, 2, default_hooks=dict(checkpoint=checkpoint))
    with pytest.raises(ValueError, match='2 epochs would leave no checkpoint'):
        run.train()


def test_epochs_of_a_training_without_any(tmp_path: Path) -> None:
    """MMEngine counts epochs by default, and a training by iterations has one."""
    iterations = dict(by_epoch=False, max_iters=4)
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=2))
    run = numbers_run(tmp_path, 4, 1, train_cfg=iterations, default_hooks=hooks)
    with pytest.raises(ValueError, match=r'of 1 epochs .* due at 2.* by_epoch=False'):
        run.train()
    decay = dict(type='StepLR', step_size=1)
    run = numbers_run(tmp_path, 4, 1, train_cfg=iterations, param_scheduler=decay)
    with pytest.raises(ValueError, match=r'would change nothing.* by_epoch=False'):
        run.train()


def test_screen_says_which_gradients_are_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Those of an unfinished accumulation are saved, unless the run ended there."""
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=3)
    with pytest.raises(SystemExit):
        numbers_run(tmp_path, 4, 1, stop=2, optim_wrapper={**wrapper}).train()
    numbers_run(tmp_path, 4, 1, optim_wrapper={**wrapper}).train()
    said = ' '.join(capfd.readouterr())
    assert 'Resuming' in said
    assert 'not divisible' not in said
    assert 'ends an accumulation early' not in said
    numbers_run(tmp_path, 4, 2, optim_wrapper={**wrapper}).train()
    said = ' '.join(capfd.readouterr())
    assert 'ends an accumulation early, after 4 iterations' in said
