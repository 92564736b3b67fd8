#!/usr/bin/env python
"""Draw the method: docs/method-light.svg and docs/method-dark.svg.

python docs/method_picture.py [--png FOLDER]
"""

import argparse
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyArrowPatch, FancyBboxPatch, Rectangle

DOCS = Path(__file__).parent
THEMES = {
    'light': dict(
        back='#ffffff', ink='#1f2328', quiet='#8c959f', block='#ddf4ff', edge='#0969da',
        distil='#bc4c00', sky='#cfe8fb', land='#b6d7a8', thing='#e8a33d',
    ),
    'dark': dict(
        back='#0d1117', ink='#e6edf3', quiet='#7d8590', block='#12395f', edge='#58a6ff',
        distil='#f0883e', sky='#1d3b57', land='#36593a', thing='#c98a2b',
    ),
}  # fmt: skip
BLOCKS = (24, 34, 44, 54, 64)  # where the blocks are, from left to right
ROWS = {
    44: ('Submodel 1', (True, False, True, True, True)),
    26: ('Submodel 2', (True, True, True, False, False)),
    6: ('Full network', (True,) * 5),
}


class Picture:
    """The picture in one theme.

    Args:
        theme (dict[str, str]): Colours by name.
    """

    def __init__(self, theme: dict[str, str]) -> None:
        self.theme = theme
        self.figure = Figure(figsize=(10, 5.3), facecolor=theme['back'])
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, 106), ylim=(-1, 57))
        self.axes.axis('off')
        self.draw()

    def draw(self) -> None:
        """Draw three rows of blocks, what they predict, and who learns from what."""
        quiet, distil = self.theme['quiet'], self.theme['distil']
        self.text(1, 54, 'Training', weight='bold')
        self.text(1, 16.2, 'Deployment', weight='bold')
        self.axes.plot((1, 105), (19.2, 19.2), color=quiet, lw=0.8, ls=':')
        self.scene(10, 35)
        self.text(10, 28.5, 'image', ha='center')
        for y, (name, kept) in ROWS.items():
            if y > 19:
                self.arrow((14.5, 35), (21, y), quiet, '-')
            else:
                self.scene(10, y)
                self.arrow((14.5, y), (21, y), quiet, '-')
            self.row(y, kept)
            self.text(22, y + 5.2, name)
            self.scene(77, y, 'prediction')
        self.text(44, 35, 'same weights', ha='center', color=quiet, style='italic')
        self.scene(99, 35, 'label')
        self.text(99, 28.5, 'label', ha='center')
        for y in (44, 26):
            towards = 1 if y > 35 else -1
            self.arrow((94.5, 35 + 2 * towards), (82, y), self.theme['ink'])
        self.arrow((77, 39.2), (77, 30.8), distil, '<|-|>', 2.2)
        self.text(75, 35, 'distillation', color=distil, ha='right', weight='bold')
        self.text(90, 44.5, 'label loss', ha='center')
        self.text(77, 0.2, 'prediction', ha='center')
        self.text(83.5, 7.4, 'The ordinary model:')
        self.text(83.5, 4.2, 'no extra cost or weights')

    def row(self, y: float, kept: tuple[bool, ...]) -> None:
        """Draw blocks on a line, skipped ones dashed with a detour around them."""
        theme, start = self.theme, 21.0
        for x, is_kept in zip(BLOCKS, kept, strict=True):
            self.arrow((start, y), (x - (not is_kept), y), theme['quiet'], '-')
            start = x + 6 + (not is_kept)
            style = dict(fc=theme['block'], ec=theme['edge'], lw=1.6)
            if not is_kept:
                style = dict(fc='none', ec=theme['quiet'], lw=1.2, ls=(0, (3, 2)))
                arc = Arc((x + 3, y), 8, 9.4, theta1=180, theta2=360)
                arc.set(color=theme['quiet'], lw=1.4)
                self.axes.add_patch(arc)
            box = FancyBboxPatch((x, y - 2.7), 6, 5.4, 'round,pad=0,rounding_size=0.8')
            box.set(**style)
            self.axes.add_patch(box)
            colour = theme['ink' if is_kept else 'quiet']
            self.text(x + 3, y, f'$f_{BLOCKS.index(x) + 1}$', ha='center', color=colour)
        self.arrow((start, y), (72.5, y), theme['quiet'])

    def scene(self, x: float, y: float, kind: str = 'image') -> None:
        """Draw a small image, or its classes."""
        colour = [self.theme[name] for name in ('sky', 'land', 'thing')]
        bounds = (
            ((x - 4, y - 4, 8, 8), colour[0]),
            ((x - 4, y - 4, 8, 3), colour[1]),
            ((x - 1.5, y - 2.4, 3.4, 3.8), colour[2]),
        )
        for (left, low, width, height), face in bounds:
            self.axes.add_patch(
                Rectangle((left, low), width, height, fc=face, ec='none')
            )
        edge = self.theme['ink' if kind == 'label' else 'quiet']
        frame = Rectangle((x - 4, y - 4), 8, 8, fc='none', ec=edge)
        frame.set(lw=1.6 if kind == 'label' else 1)
        self.axes.add_patch(frame)
        if kind == 'image':
            for i in range(5):  # texture, which the maps of classes do not have
                at = (x - 3.4 + 1.5 * i, x - 2.6 + 1.5 * i)
                self.axes.plot(at, (y + 2.2 + i % 2,) * 2, color=edge, lw=0.8)

    def text(self, x: float, y: float, text: str, **style: str) -> None:
        """Write text, centred vertically."""
        style = dict(color=self.theme['ink'], va='center') | style
        self.axes.text(x, y, text, fontsize=12, **style)

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: str,
        style: str = '-|>',
        width: float = 1.4,
    ) -> None:
        """Draw an arrow, or a line."""
        arrow = FancyArrowPatch(
            start, end, arrowstyle=style, mutation_scale=12, shrinkA=0, shrinkB=0
        )
        arrow.set(color=colour, lw=width)
        self.axes.add_patch(arrow)


def draw(theme: str, path: Path) -> None:
    """Write the picture in one theme.

    Args:
        theme (str): 'light' or 'dark'.
        path (Path): Where, with the suffix of the format.
    """
    figure = Picture(THEMES[theme]).figure
    # Letters are outlines and ids are fixed: the same picture everywhere, every time.
    with mpl.rc_context({'svg.fonttype': 'path', 'svg.hashsalt': 'mmcosub'}):
        metadata = {'Date': None} if path.suffix == '.svg' else None
        figure.savefig(path, facecolor=THEMES[theme]['back'], metadata=metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--png', type=Path, help='also write PNG files to this folder')
    args = parser.parse_args()
    for theme in THEMES:
        draw(theme, DOCS / f'method-{theme}.svg')
        if args.png:
            draw(theme, args.png / f'method-{theme}.png')


if __name__ == '__main__':
    main()
