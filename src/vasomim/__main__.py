"""`python -m vasomim` is `vasomim`."""

import sys

from vasomim.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
