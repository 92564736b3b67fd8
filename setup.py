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


def description() -> str:
    """The README without what an index cannot show: files that lie beside it."""
    text = (ROOT / 'README.md').read_text()
    text = re.sub(r'<picture>.*?</picture>\n+', '', text, flags=re.DOTALL)
    text = re.sub(r'^!\[[^]]*\]\((?!https?:)[^)]*\)\n', '', text, flags=re.MULTILINE)
    link = r'\[([^]]+)\]\((?!https?:)[^)]*\)'
    text = re.sub(rf'\s\({link}\)', '', text)  # such as "([more](docs/install.md))"
    return re.sub(link, r'\1', text)


setup(
    name='mmcosub',
    version=version(),
    description='Submodel co-training (cosub and relatives) for MMSegmentation and '
    'MMPretrain',
    long_description=description(),
    long_description_content_type='text/markdown',
    author='The mmcosub contributors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    project_urls={
        'cosub': 'https://arxiv.org/abs/2212.04884',
        'MMSegmentation': 'https://mmsegmentation.readthedocs.io',
        'MMPretrain': 'https://mmpretrain.readthedocs.io',
    },
    keywords=[
        'semantic segmentation',
        'image classification',
        'co-training',
        'self-distillation',
        'stochastic depth',
        'drop path',
        'PyTorch',
        'OpenMMLab',
    ],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    packages=find_packages(include=['mmcosub', 'mmcosub.*']),
    # Configs and tools, through the links in .mim: `_base_ = ['mmcosub::...']` and
    # `mim train mmcosub ...` look for them there. And what `mmcosub report` fills in.
    package_data={
        'mmcosub': [
            '.mim/model-index.yml',
            '.mim/configs/**/*.py',
            '.mim/configs/**/*.yml',
            '.mim/configs/**/*.md',
            '.mim/tools/**/*.py',
            '.mim/tools/**/*.sh',
            'py.typed',
            'report/templates/*',
        ]
    },
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={
        'onedl': requirements('mminstall'),
        'optional': requirements('optional'),
        'tests': requirements('tests'),
        'docs': requirements('docs'),
    },
    entry_points={'console_scripts': ['mmcosub = mmcosub.cli:main']},
    zip_safe=False,
)
