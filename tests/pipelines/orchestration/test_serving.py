"""`invertory ui` leaves no process behind, however it is ended."""

import shutil
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(shutil.which("ps") is None, reason="ps is absent: procps")
SERVE = """
import sys
from pipelines import serving
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
    group = int(process.stdout.readline())
    assert living(group)
    process.send_signal(number)
    assert process.wait(30) == 0
    process.stdout.close()
    assert living(group) == []
