"""Submodels of a network: find its branches, draw which to keep, run only those."""

from . import blocks  # noqa: F401  (fills the table of known blocks)
from .branches import (
    Branch,
    Site,
    find_branches,
    known_blocks,
    register_block,
)
from .compiling import compiled_sites
from .drop_path_modules import is_drop_path
from .drop_paths import (
    DropPathSite,
    are_drop_paths,
    called_drop_paths,
    find_drop_paths,
    find_sites,
)
from .execution import EXECUTIONS, fastest_exact, inexact, run_submodels
from .isolation import evaluating, outputs_of, temporarily, unrecorded
from .plan import Plan, plan_rows
from .sampling import (
    SAMPLERS,
    BernoulliSampler,
    Sampler,
    StratifiedSampler,
    plan_generator,
    spread_rates,
)
from .self_check import check_network, is_exact

__all__ = [
    'EXECUTIONS',
    'SAMPLERS',
    'BernoulliSampler',
    'Branch',
    'DropPathSite',
    'Plan',
    'Sampler',
    'Site',
    'StratifiedSampler',
    'are_drop_paths',
    'called_drop_paths',
    'check_network',
    'compiled_sites',
    'evaluating',
    'fastest_exact',
    'find_branches',
    'find_drop_paths',
    'find_sites',
    'inexact',
    'is_drop_path',
    'is_exact',
    'known_blocks',
    'outputs_of',
    'plan_generator',
    'plan_rows',
    'register_block',
    'run_submodels',
    'spread_rates',
    'temporarily',
    'unrecorded',
]
