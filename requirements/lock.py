"""Write locked.txt: what pinned.txt installs, all of it, with the files' hashes.

pip install --dry-run --ignore-installed --quiet --report report.json \
        --requirement requirements/pinned.txt
python requirements/lock.py report.json
"""

import json
import platform
import sys
from pathlib import Path

HEAD = """\
# Written by lock.py from pinned.txt: everything, by hash, for Python {}.{}, {}.
# On another platform pip needs other files: install pinned.txt there.
"""


def main() -> None:
    """Write the file."""
    report = json.loads(Path(sys.argv[1]).read_text())
    lines = []
    for package in report['install']:
        info = package['metadata']
        digest = package['download_info']['archive_info']['hashes']['sha256']
        pin = f'{info["name"]}=={info["version"]}'
        lines.append(f'{pin} \\\n    --hash=sha256:{digest}\n')
    where = f'{platform.system()} {platform.machine()}'
    head = HEAD.format(*sys.version_info[:2], where)
    Path(__file__).with_name('locked.txt').write_text(
        head + ''.join(sorted(lines, key=str.lower))
    )


if __name__ == '__main__':
    main()
