"""`python -m denseam` is `denseam`."""

import sys

from denseam.cli import main

if __name__ == "__main__":
    sys.exit(main())
