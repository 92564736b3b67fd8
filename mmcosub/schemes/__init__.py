"""Schemes: the views of a training and the distillation between them."""

from .augsub import AugDrop, AugMask, AugPath, AugSub
from .base import SCHEMES, Scheme
from .collaboration import Collaboration
from .cosub import Cosub
from .extras import Extras
from .group_knowledge import DepthScheme, GroupKnowledge, Stimulative
from .iteration import Iteration
from .objective import Objective, Pass
from .stochastic_depth import StochasticDepth
from .teaching import Teaching
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
    'Iteration',
    'Objective',
    'Pass',
    'Scheme',
    'Stimulative',
    'StochasticDepth',
    'SubmodelTraining',
    'Teaching',
    'Unlabelled',
]
