"""Results of scenes by the names that trainings have in tables."""

from collections import defaultdict

from choices import COSUB, PLAIN, UNTAUGHT
from records import Records
from scene_stages import NETWORKS, chosen_for_scenes
from settings import TEST_SEEDS, SceneRun

TRAININGS = ('plain', 'cosub')
NO_DISTILLATION = 'two views, no distillation'
AT_RATE = "plain, cosub's drop path"
AS_LONG = "plain, cosub's compute"
RELATIVES = {
    'AugDrop': 'augdrop',
    'AugPath': 'augpath',
    'AugMask': 'augmask',
    'Stimulative': 'stimulative',
    'GroupKnowledge': 'gkt',
}
STUDIED = (*TRAININGS, AT_RATE, NO_DISTILLATION, AS_LONG)
"""What is compared as a controlled experiment; any other is a relative of cosub."""
Cells = dict[tuple[str, str], dict[int, dict]]
Results = list[tuple[SceneRun, dict]]


def results_of(records: Records, network: str, test: bool) -> Results:
    """Results of a network's runs of the table, or of those that chose the rates."""
    start = SceneRun('', 0, **NETWORKS[network])
    return [
        (run, records.results[key])
        for key, run in records.runs.items()
        if type(run) is SceneRun
        and run.network == start.network
        and run.scale == start.scale
        and (run.seed < TEST_SEEDS) == test
    ]


def by_cell(runs: Results, plain: SceneRun) -> Cells:
    """Results by (pretraining, training) and seed.

    Args:
        runs (list[tuple[SceneRun, dict]]): Runs and results.
        plain (SceneRun): Plain training as it was chosen.
    """
    cells: Cells = defaultdict(dict)
    for run, result in runs:
        cells[run.pretrained, training_of(run, plain)][run.seed] = result
    return cells


def training_of(run: SceneRun, plain: SceneRun) -> str:
    """What a run's segmentation training is called.

    Args:
        run (SceneRun): The run.
        plain (SceneRun): Plain training as it was chosen.
    """
    if run.iterations != plain.iterations:
        return AS_LONG
    if not run.scheme:
        return 'plain' if run.rate == plain.rate else AT_RATE
    if run.scheme == COSUB:
        return 'cosub'
    if run.scheme == UNTAUGHT:
        return NO_DISTILLATION
    name = run.scheme['type']
    if name != 'Collaboration':
        return RELATIVES[name]
    ways = [way for way, weight in run.scheme.items() if way != 'type' and weight]
    return f'collaboration ({", ".join(ways)})'


def compared(records: Records, network: str) -> Cells:
    """Results of a network's comparison by (pretraining, training) and seed.

    Args:
        records (Records): Results.
        network (str): One of NETWORKS.
    """
    runs = results_of(records, network, test=True)
    return by_cell(runs, chosen_for_scenes(records, network, PLAIN))
