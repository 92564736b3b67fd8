"""Table of the records of fast.py, as ranges over machines and instruction sets.

    python benchmarks/fast_table.py RECORD ... --page docs/fast.md

Every cell is the range of medians over the records of one precision. With --page, the
table replaces what is between the page's two marks.
"""

import argparse
import json
from pathlib import Path

MARKS = '<!-- fast_table.py: begin -->', '<!-- fast_table.py: end -->'


def table(records: list[dict]) -> str:
    """Return the records as Markdown: what was measured on, then a row for each case.

    Args:
        records (list[dict]): Records of fast.py.
    """
    where: dict[str, dict[str, None]] = {}
    for r in records:
        machine = (
            f'{r["processor"]}, {r["instruction_set"]} '
            f'(limit: {r["limit"] or "none"}), '
            f'{r["threads"]} thread(s), {r["precision"]}, {r["time"]} time, '
            f'PyTorch {r["torch"]}'
        )
        where.setdefault(machine, {}).update(dict.fromkeys(map(_group, r['result'])))
    lines = [f'- {machine}: {", ".join(where[machine])}' for machine in sorted(where)]
    lines.append('')
    lines += ['| case | float32 | bfloat16 autocast | arithmetic | to reach |']
    lines += ['| --- | --- | --- | --- | --- |']
    for name in dict.fromkeys(name for r in records for name in r['result']):
        rows = [(r['precision'], r['result'].get(name)) for r in records]
        ratios = {
            precision: [row['ratio'] for p, row in rows if row and p == precision]
            for precision in ('float32', 'bfloat16')
        }
        if all(ratio == 1 for values in ratios.values() for ratio in values):
            continue  # the reference itself
        found = [row for _, row in rows if row]
        work = [row['arithmetic'] for row in found if 'arithmetic' in row]
        most = found[0]['at_most']
        cells = [_range(ratios['float32']), _range(ratios['bfloat16']), _range(work)]
        lines.append(f'| {name} | {" | ".join(cells)} | {most or ""} |')
    return '\n'.join(lines)


def _group(name: str) -> str:
    return name.partition(':')[0]


def _range(values: list[float]) -> str:
    if not values:
        return ''
    low, high = f'{min(values):.2f}', f'{max(values):.2f}'
    return low if low == high else f'{low} to {high}'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('records', nargs='+', type=Path)
    parser.add_argument('--page', type=Path, help='Markdown file with the two marks')
    args = parser.parse_args()
    records = [r for path in args.records for r in json.loads(path.read_text())]
    text = table(records)
    if args.page is None:
        print(text)
        return
    first, last = MARKS
    before, _, rest = args.page.read_text().partition(first)
    after = rest.partition(last)[2]
    args.page.write_text(f'{before}{first}\n\n{text}\n\n{last}{after}')


if __name__ == '__main__':
    main()
