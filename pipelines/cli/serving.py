"""Serve the Dagster UI and its daemon as a process tree that ends completely, even by kill -9."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from invertory.pipelines.processes.abandoned import free_abandoned, serving_runs
from invertory.pipelines.processes.dagster_home import (
    REPOSITORY_FOLDER,
    dagster_home,
    open_instance,
)

GRACE_S = 20.0  # for active runs; a run that is cut off resumes from its last chunk


def serve(port: int) -> int:
    """Serve on loopback until Ctrl-C or SIGTERM; return Dagster's exit code."""
    home = dagster_home()
    with open_instance() as instance:  # creates the databases before several Dagster processes do
        free_abandoned(instance)
    os.environ.setdefault("INVERTORY_STORE", str(Path("store").resolve()))
    os.environ.setdefault(
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS", "600"
    )  # listing a large bucket takes long
    dagster = Path(sys.executable).with_name("dagster")
    workspace = REPOSITORY_FOLDER / "workspace.yaml"
    # runs in the current directory, like `run`, since a recipe's relative addresses start there
    with serving_runs(home):
        return run_in_session(
            [str(dagster), "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
        )


def run_in_session(command: Sequence[str]) -> int:
    """Run a command in its own session, all processes of which end before this returns."""
    signal.signal(signal.SIGTERM, _interrupt)
    ours, theirs = os.pipe()  # the kernel closes our end if this process is killed
    process = subprocess.Popen(
        [sys.executable, "-m", "invertory.pipelines.processes.supervising", str(ours), *command],
        start_new_session=True,
        pass_fds=[ours],
    )
    os.close(ours)
    try:
        code = process.wait()
        return code if code >= 0 else 128 - code
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)
        os.close(theirs)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the session leader to stop, which asks the others; then kill what is left."""
    with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(GRACE_S)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, KeyboardInterrupt):
            os.killpg(process.pid, number)
            time.sleep(1.0)
    process.wait()
