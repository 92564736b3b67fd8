"""The stages on scenes: which runs each has, from what earlier ones chose."""

from dataclasses import replace

from choices import COSUB, PLAIN, TUNING, UNTAUGHT, as_long_as, over_seeds, tuned
from records import Records
from settings import SceneRun

LARGER: dict = dict(
    scale=4,
    size=64,
    scenes=2000,
    pictures=50000,
    pretrain_iterations=8000,
    iterations=4000,
    batch=64,
    lr=1e-3,
)
NETWORKS = {
    'swin': dict(network='swin'),
    'vit': dict(network='vit'),
    'larger swin': dict(network='swin', **LARGER),
    'larger vit': dict(network='vit', **LARGER),
}
"""Networks and what goes with them. The larger ones, as wide as Swin-T and ViT-S, are
for a GPU, and have not been run."""
SCENE_SEEDS = range(5)
SCENE_RATES = (0.05, 0.1, 0.2, 0.4)
PRETRAINED = ('scratch', 'plain', 'cosub')
RELATIVES = ('AugDrop', 'AugPath', 'Stimulative', 'GroupKnowledge')
"""AugMask needs larger images for a Swin: it masks units of 32 pixels there."""
WAYS = ('output', 'intermediate', 'representation', 'kernel')
"""Of intra-model collaboration. The first alone is cosub, its loss twice as large."""


def _of_scene_rates(network: str, scheme: dict) -> list[SceneRun]:
    start = SceneRun(
        'scene tuning',
        TUNING[0],
        pretrained='plain',
        scheme=scheme,
        **NETWORKS[network],
    )
    rates = SCENE_RATES if scheme else (0.0, *SCENE_RATES)
    return [replace(start, rate=rate) for rate in rates]


def scene_rates(records: Records, network: str) -> list[SceneRun]:
    """Segmentation by both at each rate, from plainly pretrained backbones.

    Both kinds of pretraining have the rate that :class:`SceneRun` has for them.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    schemes = (PLAIN, COSUB)
    return [run for scheme in schemes for run in _of_scene_rates(network, scheme)]


def scene_table(records: Records, network: str) -> list[SceneRun]:
    """Backbones from scratch, pretrained plainly and by cosub; segmentation by both.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    chosen = [chosen_for_scenes(records, network, s) for s in (PLAIN, COSUB)]
    cells = [replace(run, pretrained=how) for run in chosen for how in PRETRAINED]
    return over_seeds('scene table', cells, SCENE_SEEDS)


def scene_controls(records: Records, network: str) -> list[SceneRun]:
    """Two views that do not teach, and plain training at cosub's rate or as long.

    All from plainly pretrained backbones.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    plain, cosub = (chosen_for_scenes(records, network, s) for s in (PLAIN, COSUB))
    cells = [replace(cosub, scheme=scheme) for scheme in (UNTAUGHT, PLAIN)]
    cells.append(as_long_as(records, plain, cosub, SCENE_SEEDS))
    return over_seeds('scene controls', cells, SCENE_SEEDS)


def scene_schemes(records: Records, network: str) -> list[SceneRun]:
    """The other schemes at their defaults, from backbones pretrained by cosub.

    Where two submodels teach each other, at cosub's rate; else at plain training's.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    plain, cosub = (chosen_for_scenes(records, network, s) for s in (PLAIN, COSUB))
    cells = [
        *(replace(plain, scheme=dict(type=name)) for name in RELATIVES),
        replace(cosub, scheme=collaboration(output=1.0, intermediate=0.5)),
        *(replace(plain, scheme=collaboration(**{way: 0.5})) for way in WAYS[1:]),
    ]
    cells = [replace(cell, pretrained='cosub') for cell in cells]
    return over_seeds('scene schemes', cells, SCENE_SEEDS)


def collaboration(**weights: float) -> dict:
    """Config of intra-model collaboration.

    Args:
        **weights (float): Weights of its ways; the others are 0.
    """
    return dict(type='Collaboration', **{**dict.fromkeys(WAYS, 0.0), **weights})


def chosen_for_scenes(records: Records, network: str, scheme: dict) -> SceneRun:
    """Segmentation by a scheme at the rate chosen for it.

    Args:
        records (Records): Results of the tuning.
        network (str): One of NETWORKS.
        scheme (dict): PLAIN or COSUB.
    """
    return tuned(records, _of_scene_rates(network, scheme), TUNING, 'miou')
