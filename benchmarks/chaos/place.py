"""A folder with a recipe, its inputs and its store, in which commands run in forked children.

The parent imports everything once and starts no thread, so that a child begins to work at once:
importing torch and Dagster takes longer than the whole run. Everything else, reading the store
included, happens in children too.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invertory.pipelines.processes.supervising import ends_with_parent

TIMEOUT_S = 600.0
CRASHED = 70  # exit code of a child whose own code raised
Work = Callable[[], int]


@dataclass
class Child:
    """A forked process."""

    pid: int
    cpu_s: float = 0.0  # that it has used, known once it has ended

    def wait(self, timeout_s: float = TIMEOUT_S, cpu_s: float = math.inf) -> int | None:
        """Its exit code, negative for a signal.

        None where it still runs after `timeout_s`, or has used `cpu_s` of the processor, which
        says how far it has come whatever else the machine does.
        """
        until = time.monotonic() + timeout_s
        while True:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.cpu_s = used.ru_utime + used.ru_stime
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until or (cpu_s < math.inf and self._used_s() > cpu_s):
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        """kill -9 of the child and of what it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _used_s(self) -> float:
        """Seconds of the processor so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Place:
    """Where one trial happens. `root` is the store, a URL or a folder of the place."""

    folder: Path
    root: str = "store"
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, work: Work, name: str = "out") -> Child:
        """Run `work` in a child; what it prints is kept in `<name>.txt` and `<name>.errors.txt`."""
        end_with_parent = ends_with_parent(signal.SIGKILL)
        pid = os.fork()
        if pid == 0:
            end_with_parent()
            self._become(work, name)
        with contextlib.suppress(OSError):  # both set it, so that neither has to wait
            os.setpgid(pid, pid)
        return Child(pid)

    def command(self, *arguments: str, name: str = "out") -> Child:
        """`invertory` with these arguments."""
        return self.start(lambda: invertory(*arguments), name)

    def run(self) -> int | None:
        """`invertory run`, to its end; gives the exit code, or None for a run that hangs."""
        child = self.command("run", "toy.yaml", "--json")
        code = child.wait()
        if code is None:
            child.kill()
        return code

    def ask(self, function: Callable[[], Any]) -> Any:
        """What `function` gives in a child, by way of JSON."""

        def work() -> int:
            Path("answer.json").write_text(json.dumps(function()))
            return 0

        child = self.start(work, "ask")
        if child.wait() != 0:
            raise RuntimeError(f"{self.folder}: {self.said('ask')}")
        return json.loads((self.folder / "answer.json").read_text())

    def said(self, name: str = "out") -> str:
        """The last lines that a child printed, in one."""
        texts = (self.folder / f"{name}{end}.txt" for end in ("", ".errors"))
        found = "\n".join(path.read_text() for path in texts if path.exists())
        return " ".join(found.split())[-2000:]

    def _become(self, work: Work, name: str) -> None:
        """The child: its folder, its environment, its output; it never returns."""
        code = CRASHED
        try:
            os.setpgid(0, 0)
            os.chdir(self.folder)
            for number, end in ((1, ""), (2, ".errors")):
                file = os.open(f"{name}{end}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, number)
            os.environ.update(self._environment())
            tempfile.tempdir = None  # it remembers another TMPDIR
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _environment(self) -> dict[str, str]:
        paths = {"DAGSTER_HOME": "dagster", "INVERTORY_RECIPES": "recipes", "TMPDIR": "tmp",
                 "INVERTORY_CACHE": "cache"}  # fmt: skip
        for path in paths.values():
            (self.folder / path).mkdir(exist_ok=True)
        root = self.root if "://" in self.root else str(self.folder / self.root)
        named = {name: str(self.folder / path) for name, path in paths.items()}
        return named | {"INVERTORY_STORE": root, **self.environment}


def invertory(*arguments: str) -> int:
    """The command in this process; gives its exit code."""
    from invertory.pipelines.cli.main import main

    return main(arguments)


def preload(names: Iterable[str]) -> None:
    """Import in the parent what a run has needed; what needs a run to be imported is left out."""
    for name in names:
        if name != "__main__":
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.freeze()  # children would else copy every page that their collector looks at
