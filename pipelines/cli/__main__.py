"""`python -m invertory.pipelines.cli` is the `invertory` command."""

import sys

from invertory.pipelines.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
