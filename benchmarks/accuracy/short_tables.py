"""Short tables: that of the README, and cosub over what tells its parts apart."""

from dataclasses import replace

from choices import COSUB, PLAIN, UNTAUGHT
from intervals import cell, gain, mean_of, rows_of
from photograph_results import compared, name_of
from photograph_stages import FEW, LONGER, MORE, as_long, chosen
from records import Records
from scene_results import AS_LONG, AT_RATE, NO_DISTILLATION
from scene_results import compared as compared_scenes
from unlabelled_stages import SCENES
from unlabelled_stages import as_long as as_long_unlabelled
from unlabelled_tables import METHOD, arm_of, results_of

BASELINE, MATCHED = 'baseline', 'compute-matched baseline'
TRAININGS = (
    BASELINE,
    "baseline with cosub's drop path",
    'without distillation',
    MATCHED,
    'cosub',
)
OTHERS = TRAININGS[:-1]
UNLABELLED = 'mIoU: UperNet-Swin, 60 scenes; cosub: 4,000 unlabelled ones, too'


def tables(records: Records) -> dict[str, str]:
    """All by name, as far as there are records.

    Args:
        records (Records): Results.
    """
    found = {}
    try:
        found['front'] = front(records)
        found['leads'] = leads(records)
    except KeyError:  # a run that is needed has no record yet
        pass
    return found


def front(records: Records) -> str:
    """Return the table of the README: cosub and both baselines in each setting.

    Args:
        records (Records): Results.
    """
    rows = []
    for what, results, score in (
        ('accuracy: ViT, 1,000 images', _of_photographs(records), 'accuracy'),
        ('the same, trained 3 × longer', _of_photographs(records, LONGER), 'accuracy'),
        ('the same, 4,000 images', _of_photographs(records, MORE), 'accuracy'),
        ('mIoU: UperNet-Swin, 250 scenes', _of_scenes(records, 'swin'), 'miou'),
        ('mIoU: UperNet-ViT, 250 scenes', _of_scenes(records, 'vit'), 'miou'),
        (UNLABELLED, _of_unlabelled(records), 'miou'),
    ):
        if not all(results.get(name) for name in (BASELINE, MATCHED, 'cosub')):
            continue
        shown = [results[name] for name in (BASELINE, MATCHED, 'cosub')]
        row = [what]
        row += [mean_of(each, lambda r, k=score: r['test'][k], 2) for each in shown]
        for key, digits in ((score, 2), ('nll', 3)):
            over = gain(shown[2], shown[1], lambda r, k=key: r['test'][k])
            row.append(cell(over, digits, True))
        rows.append(row)
    columns = ('metric, %', BASELINE, MATCHED, 'cosub', 'difference', 'of NLL')
    return rows_of(columns, rows)


def leads(records: Records) -> str:
    """Cosub over each of the others, of the same seeds; scenes from plain backbones.

    Args:
        records (Records): Results.
    """
    longer = _of_photographs(records, LONGER)
    rows = []
    for what, results, score, title in (
        ('photographs, ViT', _of_photographs(records), 'accuracy', 'accuracy, %'),
        ('three times as long', longer, 'accuracy', 'accuracy, %'),
        ('scenes, Swin', _of_scenes(records, 'swin'), 'miou', 'mIoU, %'),
        ('scenes, ViT', _of_scenes(records, 'vit'), 'miou', 'mIoU, %'),
    ):
        cosub = results.pop('cosub')
        for key, digits, of in ((score, 2, title), ('nll', 3, 'NLL')):
            row = {'': what, 'cosub over': of, **dict.fromkeys(OTHERS, 'as baseline')}
            for name, other in results.items():
                over = gain(cosub, other, lambda r, key=key: r['test'][key])
                row[name] = cell(over, digits, True)
            rows.append(row)
    return rows_of(list(rows[0]), [list(row.values()) for row in rows])


def _of_photographs(records: Records, regime: str = FEW) -> dict[str, dict[int, dict]]:
    """Results by TRAININGS, as far as there are runs of each.

    The baseline at cosub's drop-path rate is left out where the baseline is at it.
    """
    plain, cosub = (chosen(records, scheme, regime) for scheme in (PLAIN, COSUB))
    runs = (
        plain,
        replace(cosub, scheme=PLAIN),
        replace(cosub, scheme=UNTAUGHT),
        as_long(records, regime),
        cosub,
    )
    results = compared(records, regime)
    return {
        name: results[name_of(run, regime)]
        for run, name in zip(runs, TRAININGS, strict=True)
        if (name == BASELINE or run != plain) and name_of(run, regime) in results
    }


def _of_scenes(records: Records, network: str) -> dict[str, dict[int, dict]]:
    results = compared_scenes(records, network)
    ways = ('plain', AT_RATE, NO_DISTILLATION, AS_LONG, 'cosub')
    return {k: results['plain', way] for k, way in zip(TRAININGS, ways, strict=True)}


def _of_unlabelled(records: Records) -> dict[str, dict[int, dict]]:
    """Return results with 60 labelled scenes by the names of this table."""
    results = results_of(records, 60)
    usual = SCENES.start.iterations
    runs = as_long_unlabelled(records, 60)
    matched = next(run for run in runs if arm_of(run) == BASELINE).iterations
    return {
        BASELINE: results.get((BASELINE, usual), {}),
        MATCHED: results.get((BASELINE, matched), {}),
        'cosub': results.get((METHOD, usual), {}),
    }
