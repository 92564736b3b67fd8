"""The settings of one training of the study."""

import json
from dataclasses import asdict, dataclass, field
from typing import ClassVar

TEST_SEEDS = 100
"""Runs with a seed below this see the test split, once, when they are done. Those with
others are for choosing settings and see the validation split only."""


@dataclass(frozen=True)
class _Keyed:
    stage: str
    seed: int

    @property
    def key(self) -> str:
        """All settings but the stage, as text. Runs of one key are the same run."""
        settings = asdict(self)
        del settings['stage']
        return json.dumps(settings, sort_keys=True)


@dataclass(frozen=True)
class Run(_Keyed):
    """A classifier of photographs.

    Args:
        stage (str): Part of the study.
        seed (int): Of weights, training images, their order, flips, shifts, submodels.
        rate (float): Drop-path rate, constant over depth.
        scheme (dict): Config of the scheme; empty for the stock classifier.
        repeats (int): How often each image of a batch comes.
        images (int): Training images, as many of each class; 0 for all.
        iterations (int): Length.
        batch (int): Images in a batch, without repeats.
        lr (float): Highest learning rate.
        weight_decay (float): Weight decay, not of norms and biases.
        loss (str): 'ce' or 'bce'.
        width (int): Channels of the ViT.
        depth (int): Blocks of the ViT.
        ramp (float): Share of the run over which the co-training weight rises.
    """

    FILE: ClassVar[str] = 'accuracy-fashion.jsonl'

    rate: float = 0.0
    scheme: dict = field(default_factory=dict)
    repeats: int = 1
    images: int = 1000
    iterations: int = 3200
    batch: int = 50
    lr: float = 1e-3
    weight_decay: float = 0.05
    loss: str = 'ce'
    width: int = 64
    depth: int = 4
    ramp: float = 0.0


@dataclass(frozen=True)
class SceneRun(_Keyed):
    """A segmentor of scenes, a UperNet, its backbone perhaps pretrained.

    Args:
        stage (str): Part of the study.
        seed (int): Of weights, order, flips and submodels, of pretraining too.
        network (str): 'swin' or 'vit'.
        pretrained (str): 'scratch', or 'plain' or 'cosub', how the backbone was
            pretrained on pictures of one article each.
        pretrain_rate (float): Drop-path rate there.
        pretrain_iterations (int): Length of pretraining.
        pictures (int): Pictures to pretrain on.
        rate (float): Drop-path rate of the segmentation training.
        scheme (dict): Config of its scheme; empty for the stock segmentor.
        scenes (int): Training scenes.
        size (int): Height and width of scenes and pictures.
        iterations (int): Length.
        batch (int): Scenes in a batch.
        lr (float): Highest learning rate.
        weight_decay (float): Weight decay, not of norms.
        scale (int): How many times as many channels and attention heads.
    """

    FILE: ClassVar[str] = 'accuracy-scenes.jsonl'

    network: str = 'swin'
    pretrained: str = 'scratch'
    pretrain_rate: float = 0.1
    pretrain_iterations: int = 2000
    pictures: int = 4000
    rate: float = 0.0
    scheme: dict = field(default_factory=dict)
    scenes: int = 250
    size: int = 32
    iterations: int = 1500
    batch: int = 16
    lr: float = 2e-3
    weight_decay: float = 0.01
    scale: int = 1


@dataclass(frozen=True)
class UnlabelledRun(SceneRun):
    """A segmentor of scenes of which few are labelled.

    Args:
        unlabelled (dict): How unlabelled scenes are learned from, arguments of
            ``mmcosub.schemes.Unlabelled``; empty for not at all.
        unlabelled_scenes (int): How many there are.
        unlabelled_batch (int): How many in an iteration.
    """

    FILE: ClassVar[str] = 'accuracy-unlabelled.jsonl'

    unlabelled: dict = field(default_factory=dict)
    unlabelled_scenes: int = 4000
    unlabelled_batch: int = 32


@dataclass(frozen=True)
class UnlabelledPhotographRun(Run):
    """A classifier of photographs of which few are labelled.

    Args:
        images (int): Labelled ones, as many of each class; the others are unlabelled.
        unlabelled (dict): How they are learned from, arguments of
            ``mmcosub.schemes.Unlabelled``; empty for not at all.
        unlabelled_batch (int): How many in an iteration.
    """

    FILE: ClassVar[str] = 'accuracy-unlabelled-photographs.jsonl'

    images: int = 250
    unlabelled: dict = field(default_factory=dict)
    unlabelled_batch: int = 100


KINDS = (Run, SceneRun, UnlabelledRun, UnlabelledPhotographRun)
