"""Figures of the page: lines and ticks, which its template draws as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib import ticker

RUN_COLOURS = 8
"""Number of colours for runs; further runs reuse them."""
WIDTH, HEIGHT = 252, 150
"""Size of a drawing, in units of which text has 9."""
_TOP, _RIGHT, _BOTTOM = 6, 246, 122
_CHARACTER = 5.2
_DASHES = ('none', '4 2', '1 1.5', '5 1.5 1 1.5')
_STEPS = [1, 2, 2.5, 5, 10]

Ticks = list[tuple[float, str]]
"""Places in the drawing, and labels."""


class Trace(NamedTuple):
    """Line of a run, whose points may be marked."""

    run: int
    dash: str
    points: list[tuple[float, float]]
    marked: bool


class Chart(NamedTuple):
    """Lines over the course of training, with the left end of the plot."""

    left: float
    x_ticks: Ticks
    y_ticks: Ticks
    traces: list[Trace]


@dataclass
class Panel:
    """Figure of the page, with the last values of its runs in text."""

    title: str
    about: str
    runs: list[int]
    ends: Sequence[str]
    drawing: Chart
    log_drawing: Chart | None


@dataclass(frozen=True)
class Line:
    """Values of a run, which sets the colour; variants are dashed, dotted, ..."""

    run: int
    points: Sequence[tuple[float, float]]
    variant: int = 0


def draw_lines(lines: Sequence[Line], marked: bool, log: bool = False) -> Chart:
    """Place lines, with or without marked points, in a drawing.

    ``log`` needs positive values.
    """
    points = np.concatenate([np.array(line.points, dtype=float) for line in lines])
    known = points[np.isfinite(points[:, 1]), 1]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    locator: ticker.Locator = ticker.MaxNLocator(6, steps=_STEPS, min_n_ticks=3)
    if log and high > 10 * low:
        locator = ticker.LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,))
    # Room for marks at the ends, and for a constant.
    scale = np.log10 if log else np.asarray
    room = (scale(high) - scale(low)) / 20 or abs(scale(high)) / 10 or 1.0
    view = np.array([scale(low) - room, scale(high) + room])
    bottom, top = (10.0**view if log else view).tolist()
    values: Any = np.array(locator.tick_values(bottom, top))
    values = values[(values >= bottom) & (values <= top)]
    left = 6 + _CHARACTER * max((len(f'{v:g}') for v in values), default=0)
    end = points[:, 0].max() or 1.0
    counts: Any = ticker.MaxNLocator(5, steps=_STEPS).tick_values(0, end)
    counts = counts[counts <= 1.001 * end]

    def across(x: Any) -> list[float]:
        return np.interp(x, (0, end), (left, _RIGHT)).round(1).tolist()

    def down(y: Any) -> list[float]:
        return np.interp(scale(y), view, (_BOTTOM, _TOP)).round(1).tolist()

    traces = []
    for line in lines:
        x, y = np.array([p for p in line.points if p[1] == p[1]]).reshape(-1, 2).T
        places = [*zip(across(x), down(y), strict=True)]
        # Other styles where a colour repeats.
        style = (line.variant + 2 * (line.run // RUN_COLOURS)) % len(_DASHES)
        single = len(places) == 1
        traces.append(Trace(line.run, _DASHES[style], places, marked or single))
    return Chart(
        left,
        [*zip(across(counts), map(_counted, counts), strict=True)],
        [*zip(down(values), (f'{v:g}' for v in values), strict=True)],
        traces,
    )


def _counted(value: float) -> str:
    """Format a number of iterations, in thousands if large."""
    return ticker.EngFormatter(sep='')(value) if value >= 1000 else f'{value:g}'
