"""What is common to all kinds of fault: a reference, places to work in, and a tally."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.chain import write_inputs, write_recipe
from benchmarks.chaos.place import Place, invertory, preload
from benchmarks.chaos.snapshot import Snapshot, differences, take

MODULES = "modules.json"
FIRST_MODULES = ("torch", "invertory.pipelines.cli.running", "invertory.pipelines.reports.summary")


@dataclass
class Tally:
    """Faults of one kind. A fault is lost where its store did not come to equal tables and sets."""

    name: str
    asked: str  # the options that try it
    tried: int = 0
    stores: int = 0
    equal: int = 0
    unnoticed: int = 0
    elapsed_s: float = 0.0
    notes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return self.tried - self.equal

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.unnoticed or self.problems)

    def add(self, num_faults: int, problems: list[str]) -> None:
        """Count the faults that one store went through, and what came of it."""
        self.tried += num_faults
        self.stores += 1
        if not problems:
            self.equal += num_faults
        self.problems += problems

    def note(self, name: str, number: int = 1) -> None:
        self.notes[name] = self.notes.get(name, 0) + number


class Trials:
    """A reference that nothing disturbed, and copies of its inputs to do harm to."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        write_inputs(folder / "inputs", seed)
        write_recipe(folder / "inputs")
        preload(FIRST_MODULES)
        self._open_home()
        self.reference = self._undisturbed()
        self.run_cpu_s = self._measure()

    def place(self, name: str, *, is_finished: bool = False) -> Place:
        """A new place; one that is finished begins with the store of the reference."""
        source = "reference" if is_finished else "inputs"
        shutil.copytree(self.folder / source, self.folder / name, symlinks=True)
        return Place(self.folder / name)

    @contextmanager
    def trial(self, tally: Tally, name: str, *, is_finished: bool = False) -> Iterator[Place]:
        """A place that is removed at the end unless the trial found a problem."""
        before = len(tally.problems)
        place = self.place(name, is_finished=is_finished)
        began = time.monotonic()
        yield place
        tally.elapsed_s += time.monotonic() - began
        if len(tally.problems) == before:
            shutil.rmtree(place.folder)

    def problems_of(self, place: Place, code: int | None, expected: Snapshot) -> list[str]:
        """What is wrong after a last run that nobody disturbed, in one line each."""
        if code != 0:
            return [f"{place.folder.name}: `invertory run` gave {code}: {place.said()}"]
        differing = differences(expected, place.ask(take))
        verified = place.command("verify", "toy.yaml", name="verify").wait()
        found = [f"{place.folder.name}: {name} differs" for name in differing]
        if verified != 0:
            found.append(f"{place.folder.name}: `invertory verify` gave {verified}")
        return found + [f"{place.folder.name}: {path} was left over" for path in leftovers(place)]

    def _open_home(self) -> None:
        """Dagster's empty databases, which take a second to create; places begin with them."""
        place = self.place("home")
        place.ask(_open_instance)
        (place.folder / "dagster").rename(self.folder / "inputs/dagster")
        shutil.rmtree(place.folder)

    def _undisturbed(self) -> Snapshot:
        """The reference; the parent then imports what its run has needed."""
        place = self.place("reference")
        code = place.start(_run_and_list_modules).wait()
        snapshot: dict[str, str] = place.ask(take) if code == 0 else {}
        problems = self.problems_of(place, code, snapshot) if code == 0 else []
        if code != 0 or problems:
            raise RuntimeError(f"the undisturbed run gave {code}: {problems or place.said()}")
        preload(json.loads((place.folder / MODULES).read_text()))
        return snapshot

    def _measure(self) -> float:
        """Processor time of a whole run whose modules the parent has imported."""
        place = self.place("measured")
        child = place.command("run", "toy.yaml", "--json")
        if problems := self.problems_of(place, child.wait(), self.reference):
            raise RuntimeError(f"two undisturbed runs differ: {problems}")
        shutil.rmtree(place.folder)
        return child.cpu_s


def _run_and_list_modules() -> int:
    code = invertory("run", "toy.yaml", "--json")
    Path(MODULES).write_text(json.dumps(sorted(sys.modules)))
    return code


def _open_instance() -> None:
    from invertory.pipelines.processes.dagster_home import open_instance

    with open_instance():
        pass


def leftovers(place: Place) -> list[str]:
    """Chunks and temporary files in a local store that nobody needs any more."""
    paths = (place.folder / "store").rglob("*")
    return [
        str(path.relative_to(place.folder))
        for path in paths
        if path.is_file() and ("_parts" in path.parts or path.name.endswith(".tmp"))
    ]
