"""SVG figures whose colours follow the page's light or dark theme.

Matplotlib writes fixed colours. Those below are placeholders that are replaced by the
page's CSS variables. Text stays text: small, searchable and in the page's typeface.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

RUN_COLOURS = 8
"""Number of colours for runs; further runs reuse them."""

_INK, _MUTED, _GRID = '#010101', '#010102', '#010103'
_VARIABLES = {_INK: 'var(--ink)', _MUTED: 'var(--muted)', _GRID: 'var(--line)'}
_RUNS = [f'#0101{16 + i:02x}' for i in range(RUN_COLOURS)]
_VARIABLES.update({colour: f'var(--run-{i})' for i, colour in enumerate(_RUNS)})
_DASHES: list[Any] = ['solid', (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))]
_STEPS = [1, 2, 2.5, 5, 10]

_STYLE: Any = {
    'font.size': 9,
    'axes.edgecolor': _GRID,
    'axes.labelcolor': _MUTED,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': _GRID,
    'grid.linewidth': 0.6,
    'xtick.color': _GRID,
    'ytick.color': _GRID,
    'xtick.labelcolor': _MUTED,
    'ytick.labelcolor': _MUTED,
    'xtick.major.size': 0,
    'ytick.major.size': 0,
    'text.color': _INK,
    'lines.linewidth': 1.4,
    'lines.markersize': 3.5,
    'svg.fonttype': 'none',
}

# Parts of Matplotlib's output that the page does not need.
_SUBSTITUTIONS = [
    (r'(?s)<(metadata|style)\b.*?</\1>', ''),
    (r' width="[^"]*pt" height="[^"]*pt"', ''),
    (r' id="(run-\d+)"', r' class="\1"'),
    (r' font-family: [^;]*;', ''),
]


@dataclass
class Panel:
    """Figure of the page, with values in text: last ones, and a table.

    ``unit`` heads the first column of ``rows``, ``runs`` the others.
    """

    title: str
    about: str
    svg: str
    runs: list[int]
    unit: str
    rows: list[tuple[str, list[str]]]
    ends: Sequence[str] = ()
    log_svg: str = ''


@dataclass(frozen=True)
class Line:
    """Values of a run, which sets the colour; variants are dashed, dotted, ..."""

    run: int
    points: Sequence[tuple[float, float]]
    variant: int = 0


def draw_lines(
    lines: Sequence[Line], unit: str, marked: bool, log: bool = False
) -> str:
    """Draw lines, with or without marked points, over the course of training.

    ``log`` needs positive values.
    """

    def draw(axes: Axes) -> None:
        for line in lines:
            # Other styles where a colour repeats.
            style = (line.variant + 2 * (line.run // RUN_COLOURS)) % len(_DASHES)
            x, y = np.array(line.points, dtype=float).T
            axes.plot(
                x,
                y,
                color=_RUNS[line.run % RUN_COLOURS],
                linestyle=_DASHES[style],
                marker='o' if marked or len(x) == 1 else '',
                gid=f'run-{line.run}',
            )
        axes.set_xlabel(unit)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=_STEPS))
        axes.xaxis.set_major_formatter(_counted)
        ticks: ticker.Locator = ticker.MaxNLocator(6, steps=_STEPS, min_n_ticks=3)
        if log:
            axes.set_yscale('log')
            axes.yaxis.set_minor_locator(ticker.NullLocator())
            low, high = axes.get_ylim()
            if high > 10 * low:
                ticks = ticker.LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,))
        axes.yaxis.set_major_locator(ticks)
        axes.yaxis.set_major_formatter('{x:g}')

    return _svg(draw, 2.1)


def _counted(value: float, _: object) -> str:
    """Format a number of iterations or epochs, in thousands if large."""
    return ticker.EngFormatter(sep='')(value) if value >= 1000 else f'{value:g}'


def draw_dots(
    names: Sequence[str], values: NDArray[np.float64], runs: Sequence[int]
) -> str:
    """Draw one row a class and one dot a run, from percentages (runs, classes)."""

    def draw(axes: Axes) -> None:
        rows = np.arange(len(names))
        for run, of_run in zip(runs, values, strict=True):
            look: Any = dict(color=_RUNS[run % RUN_COLOURS], gid=f'run-{run}')
            if len(values) == 1:
                axes.hlines(rows, 0, of_run, linewidth=1.2, **look)
            axes.plot(of_run, rows, 'o', markersize=4.5, **look)
        short = [each if len(each) <= 20 else f'{each[:19]}…' for each in names]
        axes.set_yticks(rows, [each.replace('$', r'\$') for each in short])
        axes.tick_params(axis='y', labelcolor=_INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-2, 102)
        axes.set_xlabel('%')
        axes.spines[['left', 'bottom']].set_visible(False)

    return _svg(draw, 0.5 + 0.19 * len(names))


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    """Return an element, hidden from screen readers as the text beside has it all."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.5, height), layout='constrained')
        draw(figure.add_subplot())
        figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None})
    text = re.sub(r'(?s)^.*?<svg', '<svg aria-hidden="true"', buffer.getvalue())
    for pattern, by in _SUBSTITUTIONS:
        text = re.sub(pattern, by, text)
    used = {*re.findall(r'#([\w.]+)[")]', text)}
    # Unused ids repeat in every figure.
    text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else '', text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text.strip()
