"""Errors name the setting, or the part of the model, that they come from."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.fault_settings import Setting, arguments

NAMED = {
    # The type is not known: the setting, and a type that is.
    'optim_wrapper.optimizer.type=AdamWW': "Did you mean 'AdamW'",
    'optim_wrapper.constructor=nothing': 'DefaultOptimWrapperConstructor',
    'param_scheduler.0.type=Poly': "param_scheduler.0.type='Poly'.*'PolyLR'",
    'model.decode_head.loss_decode.type=CrossEntropy': "'CrossEntropyLoss'",
    'model.decode_head.act_cfg.type=Relu6': "'ReLU6'",
    'model.decode_head.sampler.type=OHEM': 'OHEMPixelSampler',
    'model.auxiliary_head.type=FCN': "'FCNHead'",
    'model.backbone.init_cfg.type=Pretrain': "'Pretrained'",
    'model.neck.type=FPNN': "model.neck.type='FPNN'.*'FPN'",
    'train_dataloader.dataset.pipeline.0.type=LoadImage': 'pipeline.0.type',
    'train_dataloader.batch_sampler.type=No': 'train_dataloader.batch_sampler.type',
    'val_evaluator.type=IoU': "val_evaluator.type='IoU'.*IoUMetric",
    'default_hooks.timer.type=Timer': 'default_hooks.timer.type.*IterTimerHook',
    'log_processor.type=No': 'log_processor.type',
    'strategy.type=No': 'strategy.type',
    # The class has no such setting: its own that is close.
    'train_cfg.max_iter=4': "train_cfg.max_iter: .*'max_iters'",
    'train_cfg.type=EpochBasedTrainLoop': "train_cfg.max_iters: .*'max_epochs'",
    'train_dataloader.dataset.pipeline.3.crop_siz=(8,8)': "pipeline.3.*'crop_size'",
    'model.backbone.typ=Swin': 'model.backbone.typ: SwinTransformer',
    'optim_wrapper.loss_scale=dynamic': 'optim_wrapper.loss_scale: OptimWrapper',
    'optim_wrapper.paramwise_cfg.norm_decay=0': "'norm_decay_mult'",
    # The class refuses a value: the setting, and the values given.
    'train_dataloader.dataset.pipeline.3.crop_size=(0,0)': 'requires crop_size.*> 0',
    'model.backbone.window_size=-3': 'model.backbone: .*window_size=-3',
    'model.decode_head.channels=-1': 'model.decode_head: .*channels=-1',
    'model.decode_head.in_index=5': 'model.decode_head: .*in_index=5',
    'model.decode_head.dropout_ratio=3': 'model.decode_head: .*between 0 and 1',
    'model.decode_head.norm_cfg.requires_grad=a': 'model.decode_head.norm_cfg',
    'model.auxiliary_head.num_convs=-1': 'model.auxiliary_head: .*num_convs >= 0',
    'model.backbone.arch.depths=[2]': 'model.backbone: ',
    'model.backbone.drop_rate=a': "model.backbone: .*drop_rate='a'",
    'model.data_preprocessor.mean=[1.0]': 'model.data_preprocessor: .*mean and std',
    'model.data_preprocessor.bgr_to_rgb=maybe': 'model.data_preprocessor: .*bgr_to_rgb',
    'model.init_cfg.type=Pretrained': "model.init_cfg: .*'checkpoint'",
    'train_dataloader.timeout=-5': 'train_dataloader: .*timeout=-5',
    'train_dataloader.drop_last=2.5': 'train_dataloader: .*drop_last=2.5',
    'train_dataloader.collate_fn=3': 'train_dataloader: .*collate_fn',
    'train_dataloader.sampler.seed=a': "train_dataloader.sampler: .*seed='a'",
    'train_dataloader.dataset.data_prefix=3': 'train_dataloader.dataset: ',
    'train_dataloader.dataset.metainfo.classes=3': 'train_dataloader.dataset: ',
    'train_dataloader.dataset.pipeline=3': 'train_dataloader.dataset: .*pipeline=3',
    'val_dataloader.batch_size=0': 'val_dataloader: ',
    'param_scheduler.0.power=a': "param_scheduler.0: .*power='a'",
    'param_scheduler.0.eta_min=a': "param_scheduler.0: .*eta_min='a'",
    'optim_wrapper.optimizer.betas=(2,3)': 'optim_wrapper.optimizer: .*beta',
    'optim_wrapper.optimizer.eps=tiny': "optim_wrapper.optimizer: .*eps='tiny'",
    'optim_wrapper.clip_grad.maxnorm=1': 'optim_wrapper: .*maxnorm',
    'default_hooks.logger.interval=0': 'default_hooks.logger: interval must',
    'train_cfg.by_epoch=True': 'train_cfg: .*by_epoch=True',
    'train_cfg.val_begin=a': 'train_cfg.val_begin must be a whole number',
    # A part of the model, in its first forward pass.
    'model.backbone.in_channels=1': 'in model.backbone.patch_embed.projection',
    'model.decode_head.in_index=[0,5]': 'in model.decode_head',
    'model.decode_head.ignore_index=a': 'ignore_index is 255, but .* a',
    'model.auxiliary_head.in_channels=999': 'in model.auxiliary_head.convs.0',
    # Of another type at the top level.
    'env_cfg=3': 'env_cfg must be a dict',
    'randomness=3': 'randomness must be a dict',
    'auto_scale_lr=3': 'auto_scale_lr must be a dict',
    'train_dataloader=3': 'train_dataloader must be a dict',
    'custom_imports=3': 'custom_imports must be a dict',
    'optim_wrapper.optimizer=3': 'optim_wrapper.optimizer must be a dict',
    'optim_wrapper.paramwise_cfg.custom_keys=3': 'custom_keys must be a dict',
    'load_from=3': 'load_from must be text',
    'resume=maybe': 'resume must be True or False',
    'default_scope=3': 'default_scope must be text',
    # Where nothing reads it, and what is read.
    'batch_size=1': 'train_dataloader.batch_size',
    'crop_size=(16,16)': 'train_dataloader.dataset.pipeline.3.crop_size',
    'seed=3': 'randomness.seed',
    'lr=0.1': 'optim_wrapper.optimizer.lr',
    'optimizer.lr=0.1': 'optim_wrapper.optimizer.lr',
    'num_classes=3': 'model.decode_head.num_classes',
    'samples_per_gpu=3': 'train_dataloader.batch_size',
    'train_dataloader.dataset.pipeline.9.prob=2': 'pipeline.9.prob: Index 9',
    'param_scheduler.type=PolyLR': 'param_scheduler.type: ',
    # What only validation uses.
    'val_evaluator.iou_metrics=mIoU,nothing': 'val_evaluator: .*nothing',
    'val_evaluator.prefix=3': 'The first batch of validation fails: .*str instance',
    'val_dataloader.dataset.pipeline=[]': 'The first batch of validation fails',
    'model.test_cfg.mode=slide': 'model.test_cfg.stride=None .* "slide"',
    'default_hooks.checkpoint.save_best=mDice': "There are .*'mIoU'",
    # A dict in place of text, with MMEngine's remedy.
    'train_cfg.type.a=[1,2]': r"type=\{'a': \[1, 2\]\} in child .*_delete_=True",
}
"""What the line about each bad setting says, as a regular expression."""
SOME = [*NAMED][::12]


@pytest.fixture
def said(
    train: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> Callable[..., str]:
    """What the script prints of arguments that it refuses, which is one line."""

    def say(*argv: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            train.main([*argv, '--work-dir', str(tmp_path / 'w')])
        assert exit_.value.code == 2
        printed = capsys.readouterr().err
        (line,) = re.findall(r': error(?: \(rank \w+\))?: (.*)', printed)
        return line

    return say


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    'setting',
    [s if s in SOME else pytest.param(s, marks=pytest.mark.slow) for s in NAMED],
)
@pytest.mark.sweep(every=3)
def test_setting(setting: str, said: Callable[..., str], tmp_path: Path) -> None:
    line = said(*arguments(Setting(), tmp_path, 4), '--cfg-options', setting)
    assert re.search(NAMED[setting], line), line
    assert 'no reason given' not in line
    assert len(line) < 600


@pytest.mark.parametrize(
    ('flag', 'meant'),
    [
        ('--cotrain', '--co-train'),
        ('--work_dir', '--work-dir'),
        ('--cfgoptions', '--cfg-options'),
        ('--amp-mode', '--amp'),
        ('--resume-from', '--resume'),
    ],
)
def test_flag(flag: str, meant: str, said: Callable[..., str]) -> None:
    assert f'Did you mean {meant!r}?' in said('a.py', flag, 'b')


@pytest.mark.parametrize('name', ['WORLD_SIZE', 'RANK', 'MASTER_PORT', 'LOCAL_RANK'])
def test_variable_of_a_launcher(
    name: str, said: Callable[..., str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ('WORLD_SIZE', 'RANK', 'MASTER_PORT', 'MASTER_ADDR'):
        monkeypatch.setenv(each, '1')
    monkeypatch.setenv(name, 'x')
    line = said(str(config), '--launcher', 'pytorch')
    assert f"environment variable {name} must be a whole number, not 'x'" in line


def test_byte_order_marks(
    said: Callable[..., str], config: Path, scenes: Path, tmp_path: Path
) -> None:
    listed = tmp_path / 'list.txt'
    listed.write_text('\ufeff0\n1\n')
    option = f'train_dataloader.dataset.ann_file={listed}'
    line = said(str(config), '--cfg-options', option)
    assert 'list.txt begins with a byte order mark' in line
    config.write_text('\ufeff' + config.read_text())
    assert 'tiny.py cannot be read as a config (it begins with a byte' in said(
        str(config)
    )


def test_syntax_error_names_the_line(said: Callable[..., str], config: Path) -> None:
    config.write_text('a = 1\nmodel = dict(\n')
    assert 'line 2' in said(str(config))
