"""What the README and the docs tell a user to type."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob('*.md'),
    *ROOT.glob('docs/*.md'),
    *ROOT.glob('configs/*/README.md'),
]
_PROGRAMS = r'(?:python|bash|make|pip|mmcosub|mim|torchrun|sh|apt-get|tensorboard)'
_INLINE = re.compile(rf'(?:\w+=\S+ )*{_PROGRAMS} \S.*')
_LOOP = re.compile(r'for \w+ in .*; do|done')
_BLOCK = re.compile(r'^( *)```(\w+)\n(.*?)^ *```', re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command and where it is written."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its words, without settings of the environment and redirections."""
        words = shlex.split(self.text, comments=True)
        while words and re.fullmatch(r'\w+=.*', words[0]):
            words.pop(0)
        ends = [i for i, word in enumerate(words) if word.startswith(('>', '|'))]
        return words[: ends[0]] if ends else words


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of a language in Markdown."""
    found = _BLOCK.findall(text)
    return [textwrap.dedent(code) for _, name, code in found if name == language]


def section(page: str, heading: str) -> str:
    """What a page says under a heading, up to the next one of its level."""
    text = (ROOT / page).read_text()
    level = heading.split()[0]
    found = re.search(
        rf'^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)',
        re.sub(r'^(```.*?^```)', _hidden, text, flags=re.MULTILINE | re.DOTALL),
        re.MULTILINE | re.DOTALL,
    )
    assert found, f'{page} has no {heading!r}'
    return found[1].replace('\0', '#')


def _hidden(block: re.Match[str]) -> str:
    """A code block whose comments are not taken for headings."""
    return block[1].replace('#', '\0')


def lines(block: str) -> Iterator[str]:
    """Commands of a block, each as one line; those of a loop once."""
    for line in block.replace('\\\n', ' ').splitlines():
        if shlex.split(line, comments=True) and not _LOOP.fullmatch(line.strip()):
            yield ' '.join(line.split()) if "'" not in line else line.strip()


def commands() -> list[Command]:
    """Every command of every page, once a page."""
    found: dict[Command, None] = {}
    for path in PAGES:
        page = str(path.relative_to(ROOT))
        text = path.read_text()
        for block in blocks(text, 'bash'):
            found.update({Command(page, line): None for line in lines(block)})
        prose = _BLOCK.sub('', text)
        for code in re.findall(r'`([^`]+)`', prose):
            code = ' '.join(code.split())
            if _INLINE.fullmatch(code):
                found[Command(page, code)] = None
    return list(found)
