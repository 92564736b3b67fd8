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
from unlabelled_stages import PHOTOGRAPHS, SCENES

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
for _name, _study in (('', SCENES), (' photographs', PHOTOGRAPHS)):
    _title = f'unlabelled{_name}'
    STAGES[f'{_title} rates'] = partial(unlabelled_stages.rates, study=_study)
    for _count in _study.counts:
        _of = dict(count=_count, study=_study)
        _longer = dict(times=unlabelled_stages.LONGER, **_of)
        STAGES |= {
            f'{_title} {name}, {_count}': partial(stage, **settings)
            for name, stage, settings in (
                ('main', unlabelled_stages.main, _of),
                ('as long', unlabelled_stages.as_long, _of),
                ('longer', unlabelled_stages.main, _longer),
                ('longer as long', unlabelled_stages.as_long, _longer),
                (
                    'variants',
                    unlabelled_stages.main,
                    dict(arms=unlabelled_stages.VARIANTS, **_of),
                ),
            )
        }
STAGES['unlabelled ceiling'] = unlabelled_stages.ceiling
for _regime in (LONGER, MORE, ALL):
    STAGES[f'rates, {_regime}'] = partial(rates, regime=_regime)
    STAGES[f'main, {_regime}'] = partial(main, regime=_regime)
    STAGES[f'controls, {_regime}'] = partial(controls, regime=_regime)
STAGES |= {'step times': step_times, 'fewer pairs': fewer_pairs}
