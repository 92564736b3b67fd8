"""The stages of the study by name, in the order of their worth."""

from collections.abc import Callable
from functools import partial

import unlabelled_stages
from photograph_stages import (
    ALL,
    LONGER,
    MORE,
    controls,
    fewer_pairs,
    learning_rates,
    main,
    rates,
    step_times,
    variants,
    weight_decays,
)
from records import Records
from scene_stages import (
    NETWORKS,
    scene_controls,
    scene_rates,
    scene_schemes,
    scene_table,
)

STAGES: dict[str, Callable[[Records], list]] = {
    'learning rates': learning_rates,
    'rates': rates,
    'main': main,
    **{
        f'{name}, {network}': partial(stage, network=network)
        for network in NETWORKS
        for name, stage in (
            ('scene rates', scene_rates),
            ('scene table', scene_table),
            ('scene controls', scene_controls),
        )
    },
    'scene schemes, swin': partial(scene_schemes, network='swin'),
    'controls': controls,
    'variants': variants,
    'weight decays': weight_decays,
}
"""In the order of their worth, as far as one does not need another."""
STAGES['unlabelled rates'] = unlabelled_stages.rates
for _count in unlabelled_stages.COUNTS:
    STAGES |= {
        f'unlabelled {name}, {_count}': partial(stage, count=_count)
        for name, stage in (
            ('main', unlabelled_stages.main),
            ('as long', unlabelled_stages.as_long),
            ('longer', unlabelled_stages.longer),
            ('longer as long', unlabelled_stages.longer_as_long),
            ('variants', unlabelled_stages.variants),
        )
    }
STAGES['unlabelled ceiling'] = unlabelled_stages.ceiling
for _regime in (LONGER, MORE, ALL):
    STAGES[f'rates, {_regime}'] = partial(rates, regime=_regime)
    STAGES[f'main, {_regime}'] = partial(main, regime=_regime)
    STAGES[f'controls, {_regime}'] = partial(controls, regime=_regime)
STAGES |= {'step times': step_times, 'fewer pairs': fewer_pairs}
