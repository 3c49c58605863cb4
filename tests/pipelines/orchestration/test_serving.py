"""`invertory ui` leaves no process behind, however it is ended."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(shutil.which("ps") is None, reason="ps is absent: procps")
SERVE = """
import sys
from invertory.pipelines.cli import serving
serving.GRACE_S = 0.5
sys.exit(serving.run_whole(["sh", "-c", "trap '' INT TERM; sleep 300 & echo $$; wait; wait"]))
"""


def living(group: int) -> list[str]:
    """Commands of a process group; the dead that nobody has buried are none."""
    lines = subprocess.check_output(["ps", "-eo", "pgid=,stat=,args="], text=True).splitlines()
    found = (line.split(None, 2) for line in lines)
    return [args for pgid, state, args in found if pgid == str(group) and state[0] != "Z"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_of_what_was_served(number):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    group = os.getpgid(int(process.stdout.readline()))
    assert living(group)
    process.send_signal(number)
    assert process.wait(30) == 0
    process.stdout.close()
    assert living(group) == []


def served() -> tuple[subprocess.Popen, int]:
    """A process that serves, and the group of what it serves."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    group = os.getpgid(int(process.stdout.readline()))
    assert len(living(group)) >= 3  # supervisor, shell, and what the shell has started
    return process, group


def wait_until_empty(group: int) -> None:
    until = time.monotonic() + 20
    while living(group) and time.monotonic() < until:
        time.sleep(0.1)
    assert living(group) == []


def test_nothing_stays_when_the_parent_is_killed():
    process, group = served()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until_empty(group)


def test_nothing_stays_when_the_supervisor_is_killed():
    process, group = served()
    os.kill(group, signal.SIGKILL)  # it leads the group
    assert process.wait(30) == 128 + signal.SIGKILL
    process.communicate()
    wait_until_empty(group)
