"""`python -m invertory.pipelines.cli` is the `invertory` command."""

import sys

from invertory.pipelines.cli.main import main

sys.exit(main())
