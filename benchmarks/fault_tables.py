"""The tables of docs/reliability.md, from the record."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

_BEGIN, _END = '<!-- faults -->', '<!-- /faults -->'


def write_tables(record: dict[str, Any], page: Path) -> None:
    """Put the tables of a record into a page, between their marks.

    Args:
        record (dict): The record.
        page (Path): A Markdown file with the marks.
    """
    parts = [_summary(record)]
    if record.get('kills'):
        parts.append(_kills(record['kills']))
    if record.get('soak'):
        parts.append(_soak(record['soak']))
    text = page.read_text()
    inner = f'{_BEGIN}\n' + '\n'.join(parts) + f'{_END}'
    pattern = re.escape(_BEGIN) + '.*' + re.escape(_END)
    page.write_text(re.sub(pattern, lambda _: inner, text, flags=re.DOTALL))


def _summary(record: dict[str, Any]) -> str:
    rows = []
    killed = record.get('kills', {}).values()
    if killed:
        kills = sum(each['kills'] for each in killed)
        rows += [
            ('kills', kills, 'resumed bit-exactly',
             sum(bool(each['differs'] or each['failed']) for each in killed)),
            ('... while a checkpoint was written',
             sum(each['while_saving'] for each in killed), 'an intact one is left',
             sum(each['lost'] for each in killed)),
        ]  # fmt: skip
    outcomes = Counter(each['outcome'] for each in record.get('inputs', {}).values())
    if outcomes:
        total = outcomes.total()
        rows.append(
            ('bad inputs', total, 'one line, status 2', total - outcomes['one line'])
        )
        for what in ('traceback', 'taken', 'ran foreign code'):
            rows.append((f'... {what}', outcomes[what], 'none', outcomes[what]))
    hangs = sum(each['hangs'] for each in killed) + outcomes['hangs']
    rows.append(('runs that hang', hangs, 'none', hangs))
    lines = [
        '| injected | number | expected | violations |',
        '| --- | --- | --- | --- |',
    ]
    return (
        '\n'.join(lines + ['| {} | {} | {} | {} |'.format(*row) for row in rows]) + '\n'
    )


def _kills(kills: dict[str, dict]) -> str:
    lines = [
        'By training (12 iterations, a checkpoint every 3, resumed after every kill):',
        '',
        '| training | kills | while writing | checkpoints lost | differences |',
        '| --- | --- | --- | --- | --- |',
    ]
    for name, row in kills.items():
        cells = (row['kills'], row['while_saving'], row['lost'], len(row['differs']))
        lines.append(f'| {name} | ' + ' | '.join(map(str, cells)) + ' |')
    return '\n'.join(lines) + '\n'


def _soak(soak: dict[str, dict]) -> str:
    lines = []
    for name, result in soak.items():
        lines += [
            f'{name} with two workers, a checkpoint every 50, a validation every 200 '
            f'(exit status {result["status"]}):',
            '',
            '| iteration | loss | memory of all, MB | open files | processes |',
            '| --- | --- | --- | --- | --- |',
        ]
        keys = ('iteration', 'loss', 'memory_mb', 'open_files', 'processes')
        for point in result['curve'][::2]:
            lines.append('| ' + ' | '.join(str(point[key]) for key in keys) + ' |')
    return '\n'.join(lines) + '\n'
