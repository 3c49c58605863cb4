"""Exit codes of the command line. Our own exceptions have the attribute `exit_code`."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NO_WEIGHTS: Final = 4
