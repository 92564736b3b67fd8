"""Schemes: the views of a training and the distillation between them."""

from .augsub import AugDrop, AugMask, AugPath, AugSub
from .base import SCHEMES, Scheme
from .collaboration import Collaboration
from .cosub import Cosub, StochasticDepth
from .distillation import Teaching
from .extras import Extras, Objective
from .group_knowledge import DepthScheme, GroupKnowledge, Stimulative
from .step import Step
from .training import SubmodelTraining
from .unlabelled import Unlabelled

__all__ = [
    'SCHEMES',
    'AugDrop',
    'AugMask',
    'AugPath',
    'AugSub',
    'Collaboration',
    'Cosub',
    'DepthScheme',
    'Extras',
    'GroupKnowledge',
    'Objective',
    'Scheme',
    'Step',
    'Stimulative',
    'StochasticDepth',
    'SubmodelTraining',
    'Teaching',
    'Unlabelled',
]
