"""Packaging; what is built with and how it is checked is in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and line[0] != '#']


def version() -> str:
    text = (ROOT / 'mmcosub' / '__init__.py').read_text()
    match = re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)
    if match is None:
        raise RuntimeError('mmcosub/__init__.py has no __version__.')
    return match[1]


readme = ROOT / 'README.md'
setup(
    name='mmcosub',
    version=version(),
    description='Submodel co-training (cosub and relatives) for MMSegmentation',
    long_description=readme.read_text() if readme.is_file() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    packages=find_packages(include=['mmcosub', 'mmcosub.*']),
    # Configs and tools, through the links in .mim: `_base_ = ['mmcosub::...']` and
    # `mim train mmcosub ...` look for them there.
    package_data={
        'mmcosub': [
            '.mim/model-index.yml',
            '.mim/configs/**/*.py',
            '.mim/configs/**/*.yml',
            '.mim/tools/**/*.py',
            '.mim/tools/**/*.sh',
            'py.typed',
        ]
    },
    python_requires='>=3.10',
    install_requires=requirements('runtime') + requirements('mminstall'),
    extras_require={name: requirements(name) for name in ('optional', 'tests', 'docs')},
    zip_safe=False,
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
