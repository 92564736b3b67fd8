"""How Sphinx builds the pages (``make docs``).

The source directory is the root of the repository, so that a link that works on GitHub
works in the pages, too, whether it leads to another page or to a record.
"""

import re
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from docutils.nodes import Element, SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mmcosub  # noqa: E402
from mmcosub.stack import import_stack_quietly  # noqa: E402

import_stack_quietly()
# sphinx-external-toc looks at all objects there are, torch's deprecated ones included.
warnings.filterwarnings('ignore', message='.*reduce_op', category=FutureWarning)

project = 'mmcosub'
author = 'The mmcosub contributors'
copyright = author
version = release = mmcosub.__version__

extensions = [
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_external_toc',
]
include_patterns = ['*.md', 'docs/**', 'configs/*/README.md']
exclude_patterns = ['.*', 'build', 'data', 'demo_output', 'work_dirs']
external_toc_path = str(ROOT / 'docs' / 'site' / 'contents.yml')

html_theme = 'furo'
html_title = f'mmcosub {release}'
html_extra_path = ['site/index.html']
html_static_path = ['site/cards.css']
html_css_files = ['cards.css']
html_math_renderer = 'mathml'

myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3
nb_execution_mode = 'off'  # a test runs the notebook

autodoc_member_order = 'bysource'
autodoc_inherit_docstrings = False  # those of MMEngine link to its own pages
autodoc_typehints = 'none'  # the docstrings have them


def escape_stars(app: Sphinx, what: str, name: str, *rest: object) -> None:
    """In shapes such as (B, C, *) a star is a star, not the start of emphasis."""
    lines = rest[-1]
    lines[:] = [re.sub(r'\*(?=\))|(?<= )\*(?=,)', r'\\*', line) for line in lines]


def inline_math(writer: Any, node: Element) -> None:
    """Formulas are MathML: browsers show them offline, without a script."""
    writer.body.append(tex2mathml(node.astext()))
    raise SkipNode


def block_math(writer: Any, node: Element) -> None:
    """See :func:`inline_math`."""
    writer.body.append(f'<div>{tex2mathml(node.astext(), as_block=True)}</div>')
    raise SkipNode


def copy_pictures(app: Sphinx, error: Exception | None) -> None:
    """Copy what the README shows by HTML, which Sphinx does not look into."""
    if error is None and app.builder.format == 'html':
        for picture in (ROOT / 'docs').glob('method-*.svg'):
            shutil.copy(picture, Path(app.outdir) / 'docs')


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer('mathml', (inline_math, None), (block_math, None))
    app.connect('autodoc-process-docstring', escape_stars)
    app.connect('build-finished', copy_pictures)
