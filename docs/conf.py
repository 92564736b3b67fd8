"""How Sphinx builds the pages (``make docs``).

The source directory is the root of the repository, so that a link that works on GitHub
works in the pages, too, whether it leads to another page or to a record.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mmcosub  # noqa: E402

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
exclude_patterns = ['.*', '[!.]*venv*', 'build', 'data', 'demo_output', 'work_dirs']
suppress_warnings = ['etoc.glob']  # pages that are still to come
external_toc_path = str(ROOT / 'docs' / 'site' / 'contents.yml')

html_theme = 'furo'
html_title = f'mmcosub {release}'
html_extra_path = ['site/index.html']

myst_heading_anchors = 3
nb_execution_mode = 'off'  # a test runs the notebook

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # the docstrings have them
