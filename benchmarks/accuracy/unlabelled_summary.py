"""The short table of what unlabelled images gain, a line for each number of labels."""

from statistics import fmean

from intervals import cell, gain, rows_of
from records import Records
from unlabelled_stages import LABELS_ONLY, LONGER, PHOTOGRAPHS, SCENES, Study
from unlabelled_tables import METHOD, enough, results_of

COLUMNS = (
    'labelled',
    'iterations',
    'best on labels alone',
    'its score',
    'two submodels',
    'gain',
    'of NLL',
)


def tables(records: Records) -> dict[str, str]:
    """The table by its name, if there are records.

    Args:
        records (Records): Results.
    """
    rows = [
        row
        for study, what in ((SCENES, 'scenes'), (PHOTOGRAPHS, 'photographs'))
        for count in study.counts
        for times in (1, LONGER)
        for row in line(records, count, study, times, f'{count:,} {what}')
    ]
    return {'summary': rows_of(COLUMNS, rows)} if rows else {}


def line(
    records: Records, count: int, study: Study, times: int, title: str
) -> list[list[str]]:
    """Two submodels beside the best training on labels alone; nothing without records.

    The best is the baseline or cosub of any length that takes no longer, of the highest
    score on the test split. So it is chosen in its favour.

    Args:
        records (Records): Results.
        count (int): Labelled images.
        study (Study): Of scenes or of photographs.
        times (int): Length of the training with unlabelled images, in the study's.
        title (str): The first cell.
    """
    length = times * study.start.iterations
    results = enough(results_of(records, count, study), length)
    method = results.get((METHOD, length))
    if not method:
        return []
    scores = {
        key: fmean(run['test'][study.score] for run in runs.values())
        for key, runs in results.items()
    }
    best = max(
        (key for key in results if key[0] in LABELS_ONLY), key=scores.__getitem__
    )
    row = [title, f'{length:,}', f'{best[0]}, {best[1]:,} iterations']
    row += [f'{scores[key]:.1f}' for key in (best, (METHOD, length))]
    for key, digits in ((study.score, 1), ('nll', 2)):
        over = gain(method, results[best], lambda r, k=key: r['test'][k])
        row.append(cell(over, digits, True))
    return [row]
