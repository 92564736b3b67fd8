#!/usr/bin/env python
"""The tables and pictures of docs/accuracy.md and the README, from committed records.

Without arguments it prints all tables. A document gets each where it has
`<!-- table NAME -->`, in place of what stands between that and `<!-- /table -->`.
"""

import argparse
import re
from pathlib import Path

import photograph_results
import photograph_tables
import scene_results
import scene_tables
import short_tables
import unlabelled_summary
import unlabelled_tables
from curves import draw
from photograph_stages import FEW, LONGER
from records import Records
from scene_stages import NETWORKS

ROOT = Path(__file__).resolve().parents[2]
DRAWN = {FEW: 'accuracy.png', LONGER: 'accuracy-longer.png'}
MARKED = re.compile(
    r'(<!-- table (?P<name>[^>]+) -->\n).*?(<!-- /table -->)', re.DOTALL
)


def all_tables(records: Records) -> dict[str, str]:
    """Every table by name, such as `photographs: comparison` or `swin: scores`.

    Args:
        records (Records): Results.
    """
    groups = {
        'photographs': photograph_tables.tables(records),
        'short': short_tables.tables(records),
        'unlabelled': unlabelled_tables.tables(records)
        | unlabelled_summary.tables(records),
    }
    groups |= {network: scene_tables.tables(records, network) for network in NETWORKS}
    return {
        f'{group}: {name}': table
        for group, tables in groups.items()
        for name, table in tables.items()
    }


def filled(text: str, tables: dict[str, str]) -> str:
    """A document with its tables.

    Args:
        text (str): The document.
        tables (dict[str, str]): Tables by name.

    Raises:
        ValueError: If it asks for a table that there is not.
    """
    unknown = {match['name'] for match in MARKED.finditer(text)} - {*tables}
    if unknown:
        raise ValueError(f'No tables {sorted(unknown)}. There are {sorted(tables)}.')
    return MARKED.sub(lambda m: f'{m[1]}\n{tables[m["name"]]}\n{m[3]}', text)


def draw_all(records: Records, folder: Path) -> None:
    """Draw the validation curves.

    Args:
        records (Records): Results.
        folder (Path): Where to write the pictures.
    """
    for regime, name in DRAWN.items():
        shown = photograph_results.compared(records, regime)
        if shown:
            draw(shown, photograph_tables.CURVES, folder / name)
    for network in NETWORKS:
        if not scene_tables.tables(records, network):
            continue
        cells = scene_results.compared(records, network)
        shown = {f'{a}, {b}': cells[a, b] for a, b in scene_tables.DRAWN if cells[a, b]}
        name = f'accuracy-scenes-{network.replace(" ", "-")}.png'
        draw(shown, scene_tables.CURVES, folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--records',
        type=Path,
        default=ROOT / 'benchmarks' / 'results',
        help='folder of the records',
    )
    parser.add_argument(
        '--fill', type=Path, nargs='+', metavar='FILE', help='documents to fill'
    )
    parser.add_argument('--plot', type=Path, metavar='FOLDER', help='where to draw')
    args = parser.parse_args()
    records = Records(args.records)
    tables = all_tables(records)
    for path in args.fill or ():
        path.write_text(filled(path.read_text(), tables))
    if args.plot:
        draw_all(records, args.plot)
    if not (args.fill or args.plot):
        print('\n'.join(f'### {name}\n\n{table}' for name, table in tables.items()))


if __name__ == '__main__':
    main()
