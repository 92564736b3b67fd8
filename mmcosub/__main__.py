"""``python -m mmcosub``, the same as the command ``mmcosub``."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
