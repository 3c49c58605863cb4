"""`invertory`: run recipes, inspect their results and trace an image, without knowing Dagster.

Exit codes: 0 done, 1 something failed, 2 wrong usage or an invalid recipe, 3 not found, 4 the
weights of a network are unavailable, 130 and 143 stopped by SIGINT and SIGTERM. An error is one
line on stderr; `--debug`, or INVERTORY_DEBUG=1 in the environment, adds its traceback.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from invertory.pipelines.cli import (
    chain_commands,
    models_commands,
    portraits_commands,
    recipes_commands,
    training_commands,
    verify_commands,
)
from invertory.pipelines.cli.output import add_command, debugging, fail, print_error
from invertory.pipelines.errors.exit_codes import USAGE
from invertory.resources.redaction import redact_logs

# By default glibc returns large freed tensors to the kernel, and every operation pays page faults
# for them: six times the arithmetic. It also keeps a heap per thread, of which `memory.give_back`
# can shorten only one. glibc reads these variables before Python starts.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 30),
    "MALLOC_ARENA_MAX": "1",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    from invertory.pipelines.processes.stopping import (
        Stopped,
        install_handlers,
        interruption_message,
    )

    if argv is None:
        keep_freed_memory()
        install_handlers()
    options = parser().parse_args(argv)
    os.environ.setdefault("DAGSTER_HOME", str(Path(".dagster").resolve()))
    redact_logs()
    try:
        with debugging(options.debug):
            return run_command(options)
    except Stopped as error:
        return print_error(interruption_message(error.code - 128), error.code)
    except KeyboardInterrupt:
        return print_error(interruption_message(signal.SIGINT), 130)


def run_command(options: argparse.Namespace) -> int:
    """Run a command and report its errors; return its exit code."""
    try:
        return int(options.command(options))
    except Exception as error:
        return fail(options, error)


def keep_freed_memory() -> None:
    """Restart this process with glibc configured to keep freed memory, unless it already is."""
    if sys.platform == "linux" and not ALLOCATOR.keys() <= os.environ.keys():
        command = [sys.executable, "-m", "invertory.pipelines.cli.main", *sys.argv[1:]]
        os.execve(sys.executable, command, {**ALLOCATOR, **os.environ})


def parser() -> argparse.ArgumentParser:
    """Build the parser with every command and its options."""
    top = argparse.ArgumentParser(prog="invertory", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    chain_commands.add_commands(commands)
    verify_commands.add_commands(commands)
    models_commands.add_commands(commands)
    recipes_commands.add_commands(commands)
    training_commands.add_commands(commands)
    portraits_commands.add_commands(commands)
    ui = add_command(commands, "ui", _ui, "serve the Dagster UI on loopback")
    ui.add_argument("--port", type=int, default=3000)
    return top


def _ui(options: argparse.Namespace) -> int:
    from invertory.pipelines.cli.serving import serve

    if not Path(sys.executable).with_name("dagster-webserver").exists():
        return print_error(
            "expected the Dagster UI to be installed, got none; run `pip install -e '.[ui]'`", USAGE
        )
    print(f"http://127.0.0.1:{options.port}  (Ctrl-C stops it)", flush=True)
    return serve(options.port)


if __name__ == "__main__":
    sys.exit(main())
