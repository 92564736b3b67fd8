"""The tasks, networks and methods of the accuracy study, and the config of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RATE = 0.1


@dataclass(frozen=True)
class Task:
    """What is learned, and for how long.

    Args:
        title (str): What a score is.
        iterations (int): Iterations of plain training.
        data (str): Folder of the data.
        segments (bool): Whether the model is a segmentor.
        pretrained (bool): Whether models start from plain training, see PRETRAIN.
        every (int): Train with one in so many images. Defaults to 1, all.
        methods (tuple[str], optional): Methods. Defaults to None, all.
        networks (tuple[str]): Networks.
    """

    title: str
    iterations: int
    data: str = 'digits'
    segments: bool = False
    pretrained: bool = False
    every: int = 1
    methods: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ('swin', 'vit')

    @property
    def metric(self) -> str:
        """Metric that is the score."""
        return 'mIoU' if self.segments else 'accuracy/top1'


TASKS = {
    'digits': Task('top-1 on digits, %', 300),
    'scenes': Task(
        'mIoU on digit scenes, %', 200, 'scenes', segments=True, pretrained=True
    ),
    # Long enough to overfit; not among the default ones.
    'few': Task(
        'top-1 on digits, of few images, %',
        1000,
        every=12,
        methods=('plain', 'cosub', 'AugPath'),
        networks=('swin',),
    ),
}
# Plain training that segmentors start from: the backbone's on digits, then, from there,
# the whole model's on scenes other than the study's.
PRETRAIN = {
    'swin': {'digits': 1000, 'other scenes': 2000},
    'vit': {'digits': 2000, 'other scenes': 2000},
}
PRETRAIN_OPTIONS = {  # on scenes
    'train_dataloader.batch_size': 8,
    'optim_wrapper.optimizer.lr': 2e-3,
    'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult': 0.5,
}

SWIN = dict(
    type='mmpretrain.SwinTransformer',
    arch=dict(embed_dims=24, depths=[2, 2, 4], num_heads=[1, 2, 4]),
    window_size=4,
    drop_path_rate=RATE,
    pad_small_map=True,
)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=96, num_layers=6, num_heads=3, feedforward_channels=192),
    patch_size=8,
    layer_cfgs=dict(drop_path_rate=RATE),
)
WIDTH = 96  # of the last features of both

# Config fragment and settings of the scheme; no fragment is plain training, which has
# stochastic depth at the networks' rate.
Methods = dict[str, tuple[str, dict]]
METHODS: Methods = {
    'plain': ('', {}),
    'cosub': ('cosub', {}),
    'AugDrop': ('augdrop', dict(ratio=0.5)),
    'AugPath': ('augpath', dict(ratio=0.5)),
    'AugMask': ('augmask', dict(ratio=0.5)),
    'stimulative': ('stimulative', {}),
    'group knowledge': ('gkt', {}),
    'collaboration: output': ('collaboration', dict(intermediate=0.0)),
    'collaboration: heads': ('collaboration', dict(output=0.0, intermediate=0.5)),
    'collaboration: redundancy': (
        'collaboration',
        dict(output=0.0, intermediate=0.0, representation=0.1, kernel=0.1),
    ),
}
# Why cosub wins or not: its drop-path rate, weight and ramp (half of the run).
ABLATIONS: Methods = {
    'no drop path': ('', dict(drop_path_rate=0.0)),
    **{
        f'cosub, rate {rate}': ('cosub', dict(drop_path_rate=rate))
        for rate in (0.02, 0.05, 0.2, 0.4)
    },
    **{
        f'cosub, weight {weight}': ('cosub', dict(weight=weight))
        for weight in (0.0, 0.1, 0.25, 0.75)
    },
    'cosub, ramp': ('cosub', dict(ramp=True)),
    **{
        f'cosub, coupled {share}': ('cosub', dict(coupled=share))
        for share in (0.25, 0.5)
    },
}


def make_config(
    job: dict,
    data: Path,
    work_dir: Path,
    start: Path | None = None,
    task: Task | None = None,
) -> Any:
    """The config of a run.

    Args:
        job (dict): The run.
        data (Path): Folder of the digits and the scenes.
        work_dir (Path): Where the run may write.
        start (Path, optional): Checkpoint that the model starts from if the task says
            so, else the backbone alone.
        task (Task, optional): Task. Defaults to None, the run's.
    """
    from mmengine.config import Config

    task = task or TASKS[job['task']]
    segments = task.segments
    name = 'segmentation.py' if segments else 'classification.py'
    cfg = Config.fromfile(HERE / name)
    set_network(cfg, job['network'], segments)
    if start is not None and task.pretrained:
        cfg.load_from = str(start)
    elif start is not None:
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(start))
    for key in ('train_dataloader', 'val_dataloader'):
        cfg[key].dataset.data_root = str(data / task.data)
    if task.every > 1:
        count = len(list((data / task.data / 'training').glob('*/*.png')))
        cfg.train_dataloader.dataset.indices = list(range(0, count, task.every))
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    iterations = job['iterations']
    cfg.train_cfg.update(max_iters=iterations, val_interval=iterations)
    cfg.randomness = dict(seed=job['seed'])
    cfg.work_dir = str(work_dir)
    cfg.log_level = 'WARNING'
    set_method(cfg, job)
    return cfg


def set_network(cfg: Any, network: str, segments: bool) -> None:
    """Put the Swin or the ViT into a classifier's or segmentor's config."""
    backbone = dict(SWIN if network == 'swin' else VIT, img_size=64 if segments else 48)
    if network == 'vit':
        outs = dict(out_type='featmap', out_indices=(1, 2, 4, 5), final_norm=False)
        backbone |= outs if segments else dict(out_type='avg_featmap')
        channels = [WIDTH] * 4
    else:
        backbone |= dict(out_indices=(0, 1, 2) if segments else (2,))
        channels = [24, 48, WIDTH]
    cfg.model.backbone = backbone
    if segments:
        levels = list(range(len(channels)))
        cfg.model.decode_head.update(in_channels=channels, in_index=levels)
        cfg.model.auxiliary_head.update(in_channels=channels[1], in_index=1)
    else:
        cfg.model.head.in_channels = WIDTH
    if network == 'vit':
        cfg.model.neck = None
    if network == 'vit' and segments:
        cfg.model.neck = dict(
            type='Feature2Pyramid',
            embed_dim=WIDTH,
            rescales=[4, 2, 1, 0.5],
            norm_cfg=dict(type='BN'),
        )


def set_method(cfg: Any, job: dict) -> None:
    """Have a config train by the method of a run."""
    from mmcosub.engine.co_train import apply_scheme

    fragment, settings = {**METHODS, **ABLATIONS}[job['method']]
    settings = dict(settings)
    if not fragment:
        if 'drop_path_rate' in settings:
            backbone = cfg.model.backbone
            owner = backbone.get('layer_cfgs', backbone)
            owner.update(settings)
        return
    apply_scheme(cfg, fragment)
    if settings.pop('ramp', False):
        ramp = job['iterations'] // 2
        cfg.custom_hooks = [dict(type='mmcosub.CoTrainingLossHook', ramp=ramp)]
    cfg.scheme.update(settings)
    cfg.scheme.seed = job['seed']
