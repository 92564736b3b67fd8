#!/usr/bin/env python
"""Write what the zoo says of its configs: metafiles, index, tables of the READMEs.

All of it is read off the configs; run it after adding or changing one:

    python docs/zoo.py

By hand are the `Collections` of a `metafile.yml`, accuracies of papers
(`published.yml`), and everything in a README but what stands between the lines
`<!-- table: PATTERN -->`, with the pattern of the configs to list, and
`<!-- end of table -->`.
"""

import copy
import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope

from mmcosub.config.model_settings import without_memory
from mmcosub.stack import import_stack_quietly
from mmcosub.submodels import find_branches

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs'
NAME = re.compile(
    r'(?P<model>.+?)_(?P<method>[^_]+)_(?P<gpus>\d+)xb(?P<images>\d+)-'
    r'(?P<length>\d+)(?P<unit>e|k)_(?P<data>.+)-(?P<size>\d+(x\d+)?)'
)
DATA = {
    'ade20k': 'ADE20K',
    'digit-scenes': 'digit scenes',
    'digits': 'digits',
    'in1k': 'ImageNet-1k',
    'in21k': 'ImageNet-21k',
}
TABLE = re.compile(
    r'(?P<head><!-- table: (?P<pattern>\S+) -->\n).*?(?P<tail><!-- end of table -->\n)',
    re.DOTALL,
)

# By config, as many recipes train the same model.
_KNOWN: dict[str, tuple[int, str]] = {}


@dataclass(frozen=True)
class Entry:
    """What a config says of itself, by its name and by the model that it builds."""

    path: Path
    parameters: int
    drop_path: str

    @property
    def says(self) -> dict[str, str]:
        """Parts of its name."""
        parts = NAME.fullmatch(self.path.stem)
        if parts is None:
            raise ValueError(
                f'{self.path.name} should be named MODEL_METHOD_GPUSxbIMAGES-LENGTH_'
                'DATA-SIZE.py with a LENGTH such as 160k or 300e.'
            )
        return parts.groupdict()

    @property
    def length(self) -> str:
        """How long it trains."""
        thousands = self.says['unit'] == 'k'
        return f'{self.says["length"]}{"k iterations" if thousands else " epochs"}'

    @property
    def batch(self) -> int:
        """Images of a step, on all GPUs."""
        return int(self.says['gpus']) * int(self.says['images'])

    @property
    def order(self) -> tuple:
        """Smaller networks first, within a family."""
        return (
            DATA.get(self.says['data'], self.says['data']),
            self.says['model'].partition('-')[0],
            self.parameters,
            self.path.stem,
        )


def config_files() -> dict[Path, list[Path]]:
    """Configs to run, by folder."""
    folders: dict[Path, list[Path]] = {}
    for path in sorted(CONFIGS.glob('*/*.py')):
        if path.parent.name != '_base_':
            folders.setdefault(path.parent, []).append(path)
    return folders


def read(path: Path) -> Entry:
    """What is known of a config."""
    cfg = Config.fromfile(path)
    return Entry(path, *_of_model(cfg.model.to_dict(), cfg.default_scope))


def _of_model(config: dict, scope: str) -> tuple[int, str]:
    """Parameters and drop path of a stock model, built without memory for weights."""
    if repr(config) not in _KNOWN:
        init_default_scope(scope)
        with without_memory():
            model = MODELS.build(copy.deepcopy(config))
        timm = config['type'] == 'TimmClassifier'
        network = model.model if timm else model.backbone
        rates = [site.rate for site in find_branches(network)]
        course = 'constant' if len(set(rates)) == 1 else 'linear'
        parameters = sum(p.numel() for p in model.parameters())
        _KNOWN[repr(config)] = parameters, f'{max(rates):g}, {course}'
    return _KNOWN[repr(config)]


def metafile(folder: Path, entries: list[Entry]) -> str:
    """A folder's metafile: its collection as it is, and its models."""
    file = folder / 'metafile.yml'
    if not file.is_file():
        raise ValueError(f'{file} is missing: write its Collections by hand.')
    head = file.read_text().partition('Models:\n')[0]
    collection = yaml.safe_load(head)['Collections'][0]['Name']
    lines = [head + 'Models:']
    for entry in sorted(entries, key=lambda e: e.path):
        unit = 'Epochs' if entry.says['unit'] == 'e' else 'Iterations'
        length = int(entry.says['length']) * (1000 if unit == 'Iterations' else 1)
        lines += [
            f'- Name: {entry.path.stem}',
            f'  In Collection: {collection}',
            f'  Config: {entry.path.relative_to(ROOT)}',
            '  Metadata:',
            f'    Training Data: {DATA[entry.says["data"]]}',
            f'    Batch Size: {entry.batch}',
            f'    {unit}: {length}',
            f'    Parameters: {entry.parameters}',
        ]
    return '\n'.join(lines) + '\n'


def table(entries: list[Entry], published: dict[str, str]) -> str:
    """A table in Markdown; what is the same in all rows stays out of it."""
    columns = {
        'Method': [e.says['method'] for e in entries],
        'Data': [DATA[e.says['data']] for e in entries],
        'Pixels': [e.says['size'] for e in entries],
        'Length': [e.length for e in entries],
        'Images a step': [str(e.batch) for e in entries],
    }
    columns = {k: v for k, v in columns.items() if len(set(v)) > 1}
    columns['Drop path'] = [e.drop_path for e in entries]
    columns['Parameters'] = [f'{e.parameters / 1e6:.3g} M' for e in entries]
    if any(e.path.stem in published for e in entries):
        columns["Top-1, the paper's"] = [
            published.get(e.path.stem, '') for e in entries
        ]
    links = [f'[{e.says["model"]}](./{e.path.name})' for e in entries]
    rows = [('Config', *columns), ('---',) * (1 + len(columns))]
    rows += list(zip(links, *columns.values(), strict=True))
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def readme(folder: Path, entries: list[Entry]) -> str:
    """A folder's README with its tables filled in."""
    file = folder / 'published.yml'
    published = yaml.safe_load(file.read_text()) if file.is_file() else {}
    listed: set[Path] = set()

    def fill(found: re.Match) -> str:
        rows = [
            e for e in entries if fnmatch.fnmatch(e.path.name, found['pattern'] + '.py')
        ]
        if not rows:
            raise ValueError(f'{folder.name}: no config fits {found["pattern"]}.')
        listed.update(e.path for e in rows)
        rows.sort(key=lambda e: e.order)
        return found['head'] + table(rows, published) + found['tail']

    text = TABLE.sub(fill, (folder / 'README.md').read_text())
    missing = sorted(e.path.name for e in entries if e.path not in listed)
    if missing:
        raise ValueError(f'{folder.name}/README.md has no table for {missing}.')
    return text


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is written here, with its text."""
    import_stack_quietly()
    MMLogger.get_instance('zoo', log_level='ERROR')
    folders = config_files()
    names = [f'- configs/{folder.name}/metafile.yml\n' for folder in sorted(folders)]
    yield ROOT / 'model-index.yml', 'Import:\n' + ''.join(names)
    for folder, paths in folders.items():
        entries = [read(path) for path in paths]
        yield folder / 'metafile.yml', metafile(folder, entries)
        yield folder / 'README.md', readme(folder, entries)


def main() -> None:
    for path, text in files():
        if path.read_text() != text:
            path.write_text(text)
            print(f'Wrote {path.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
