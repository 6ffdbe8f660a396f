"""``python -m stayfinite``."""

import sys

from stayfinite.cli import main

if __name__ == "__main__":
    sys.exit(main())
