"""SVG figures whose colours follow the page's light or dark theme.

Matplotlib writes plain colours. Those below are written by no one else and stand for
the page's own, which take their place. Text stays text: it is small, can be searched,
and has the page's typeface.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

RUN_COLOURS = 8
"""How many colours the page has for runs; further runs take them again."""

_INK, _MUTED, _GRID = '#010101', '#010102', '#010103'
_VARIABLES = {_INK: 'var(--ink)', _MUTED: 'var(--muted)', _GRID: 'var(--line)'}
_RUNS = [f'#0101{16 + i:02x}' for i in range(RUN_COLOURS)]
_VARIABLES.update({colour: f'var(--run-{i})' for i, colour in enumerate(_RUNS)})
_STEPS = [1, 2, 2.5, 5, 10]
# Of a matrix drawn as a picture, to be seen on light and on dark.
_ACCENT = (59 / 255, 130 / 255, 246 / 255)

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
    'path.simplify': True,
}

# What Matplotlib writes that a page has no use for, or has of its own.
_SUBSTITUTIONS: list[tuple[re.Pattern, Any]] = [
    (re.compile(r'<(metadata|style)\b.*?</\1>', re.DOTALL), ''),
    (re.compile(r'(<svg[^>]*?) width="[^"]*"'), r'\1'),
    (re.compile(r'(<svg[^>]*?) height="[^"]*"'), r'\1'),
    (re.compile(r' id="(run-\d+)"'), r' class="\1"'),
    (re.compile(r' transform="rotate\(-0 [^"]*"'), ''),
    (re.compile(r' font-family: [^;]*;'), ''),
    (
        re.compile(r' (?:d|x|y)="[^"]*"', re.DOTALL),
        lambda found: re.sub(r'\d+\.\d+', lambda n: f'{float(n[0]):.1f}', found[0]),
    ),
    (re.compile(r'\n\s*'), '\n'),
]


@dataclass(frozen=True)
class Line:
    """Line of a figure.

    Args:
        run (int): Number of the run, which decides on the colour.
        points (Sequence[tuple]): Where, and what.
        variant (int): Which of the run's lines, solid, dashed, dotted, ... Defaults
            to 0.
    """

    run: int
    points: Sequence[tuple[float, float]]
    variant: int = 0


def draw_lines(lines: Sequence[Line], unit: str, name: str, marked: bool) -> str:
    """Draw lines over the course of training.

    Args:
        lines (Sequence[Line]): The lines.
        unit (str): What the horizontal axis counts.
        name (str): What is different for every figure of a page.
        marked (bool): Whether to mark the points.

    Returns:
        str: The ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, 'svg.hashsalt': name}):
        figure = Figure(figsize=(3.5, 2.1), layout='constrained')
        axes = figure.add_subplot()
        for line in lines:
            x, y = np.array(line.points, dtype=float).T
            axes.plot(
                x,
                y,
                color=_RUNS[line.run % RUN_COLOURS],
                linestyle=_dashes(line),
                marker='o' if marked or len(x) == 1 else '',
                gid=f'run-{line.run}',
            )
        axes.set_xlabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
        axes.xaxis.set_major_formatter(FuncFormatter(_counted))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS, min_n_ticks=3))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        axes.set_xlim(left=0)
        return _svg(figure)


def _counted(value: float, _: object) -> str:
    """Format a number of iterations or epochs, in thousands if large."""
    return EngFormatter(sep='')(value) if value >= 1000 else f'{value:g}'


def _dashes(line: Line) -> Any:
    """Return a line's dash style, different where a colour repeats."""
    styles = ['solid', (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))]
    return styles[(line.variant + 2 * (line.run // RUN_COLOURS)) % len(styles)]


def draw_dots(
    names: Sequence[str],
    values: NDArray[np.float64],
    runs: Sequence[int],
    name: str,
) -> str:
    """Draw one row a class and one dot a run, in percent.

    Args:
        names (Sequence[str]): Names of the C classes, the first one at the top.
        values (ndarray): In percent, of shape (runs, C); nan where there is none.
        runs (Sequence[int]): Numbers of the runs, which decide on the colours.
        name (str): What is different for every figure of a page.

    Returns:
        str: The ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, 'svg.hashsalt': name}):
        size = (3.5, 0.5 + 0.19 * len(names))
        figure = Figure(figsize=size, layout='constrained')
        axes = figure.add_subplot()
        rows = np.arange(len(names))
        for run, of_run in zip(runs, values, strict=True):
            colour = _RUNS[run % RUN_COLOURS]
            gid = f'run-{run}'
            if len(values) == 1:
                axes.hlines(rows, 0, of_run, color=colour, linewidth=1.2, gid=gid)
            axes.plot(of_run, rows, 'o', color=colour, gid=gid, markersize=4.5)
        axes.set_yticks(rows, [_short(each) for each in names])
        axes.tick_params(axis='y', labelcolor=_INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-2, 102)
        axes.set_xlabel('%')
        axes.spines[['left', 'bottom']].set_visible(False)
        return _svg(figure)


def draw_matrix(shares: NDArray[np.float64], name: str) -> str:
    """Draw a confusion matrix of many classes as an image.

    Args:
        shares (ndarray): Share of each label that is predicted as each class, in [0,
            1], of shape (C, C).
        name (str): What is different for every figure of a page.

    Returns:
        str: The ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, 'axes.grid': False, 'svg.hashsalt': name}):
        figure = Figure(figsize=(3.5, 3.4), layout='constrained')
        axes = figure.add_subplot()
        # See-through where there is nothing, so that the page's own ground shows.
        picture = np.empty((*shares.shape, 4))
        picture[..., :3] = _ACCENT
        picture[..., 3] = np.sqrt(np.nan_to_num(shares))
        axes.imshow(picture, interpolation='none')
        axes.set_xlabel('predicted class, by number')
        axes.set_ylabel('label')
        return _svg(figure)


def _short(name: str, length: int = 20) -> str:
    name = name.replace('$', r'\$')
    return name if len(name) <= length else f'{name[: length - 1]}…'


def _svg(figure: Figure) -> str:
    """Return a figure as an element of the page.

    What it shows is said beside it, so it is hidden from those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None})
    text = buffer.getvalue()
    text = text[text.index('<svg') :].replace(
        '<svg', '<svg aria-hidden="true" focusable="false"', 1
    )
    for pattern, by in _SUBSTITUTIONS:
        text = pattern.sub(by, text)
    used = {*re.findall(r'#([\w.]+)[")]', text)}
    text = re.sub(
        r' id="([^"]*)"', lambda m: m[0] if m[1] in used else '', text
    )  # the others come again in every figure
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text.strip()
