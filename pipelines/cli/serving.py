"""The Dagster UI with its daemon as one process that ends whole, even by kill -9."""

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
from invertory.pipelines.processes.dagster_home import HOUSE, dagster_home, open_instance

GRACE_S = 20.0  # for runs in flight; what is cut off goes on from its last chunk


def serve(port: int) -> int:
    """Serve on loopback until Ctrl-C or SIGTERM; the exit code of Dagster's own end."""
    home = dagster_home()
    with open_instance() as instance:  # before several processes of Dagster create its databases
        free_abandoned(instance)
    os.environ.setdefault("INVERTORY_STORE", str(Path("store").resolve()))
    os.environ.setdefault("DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS", "600")  # to list a large bucket
    dagster = Path(sys.executable).with_name("dagster")
    workspace = HOUSE / "workspace.yaml"
    # from the current directory, as `run` is: there a recipe's relative addresses start
    with serving_runs(home):
        return run_in_session(
            [str(dagster), "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
        )


def run_in_session(command: Sequence[str]) -> int:
    """Run a command in a session of its own, of which nothing stays when this returns."""
    signal.signal(signal.SIGTERM, _interrupt)
    ours, theirs = os.pipe()  # the kernel closes our end of it when this process is killed
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
    """Ask the leader, which asks the others; then make an end of what is left of the session."""
    with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(GRACE_S)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, KeyboardInterrupt):
            os.killpg(process.pid, number)
            time.sleep(1.0)
    process.wait()
