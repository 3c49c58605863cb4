"""Single bits of a finished store are flipped: each is noticed, and a run makes all equal again."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos.place import Place
from benchmarks.chaos.snapshot import open_store
from benchmarks.chaos.trials import Tally, Trials
from invertory.pipelines.cli.verify_commands import verify_store
from invertory.resources.seals import CorruptFileError

FLIPS = "bit flip"
END_TO_END = 50  # one flip in so many is also mended by commands
BATCH = 100  # flips that one child makes


def flip_bits(trials: Trials, num: int, seed: int) -> Tally:
    """`num` flips by the library, each undone; a share of them is left to the commands."""
    rng, tally = random.Random(seed), Tally(FLIPS, f"--flips {num}")
    for first in range(0, num, BATCH):
        with trials.trial(tally, f"flips-{first:04d}", is_finished=True) as place:
            draws = [rng.random() for _ in range(3 * min(BATCH, num - first))]
            found = place.ask(partial(_flip_and_undo, place, draws))
            tally.add(len(draws) // 3, [f"{place.folder.name}: {text}" for text in found])
            tally.unnoticed += len(found)
    for number in range(-(-num // END_TO_END)):
        with trials.trial(tally, f"mended-{number:04d}", is_finished=True) as place:
            tally.note("mended by commands")
            tally.problems += _flip_and_mend(trials, place, rng)
    return tally


def _files(place: Place) -> list[Path]:
    """Tables, rejects, states, entries and the files of sets, in one order on every machine."""
    store = place.folder / "store/toy"
    paths = (p for p in store.rglob("*") if not p.is_symlink() and p.is_file())
    return sorted(path for path in paths if not path.name.startswith("."))


def _flip(path: Path, draw: float) -> bytes:
    """Flip the bit that `draw` in [0, 1) names, and keep the file's time; gives the old bytes."""
    whole, times = path.read_bytes(), path.stat()
    data, bit = bytearray(whole), int(draw * len(whole) * 8)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return whole


def _flip_and_undo(place: Place, draws: list[float]) -> list[str]:
    """The flips that nobody noticed, in words; three draws for each flip."""
    store, files, unnoticed = open_store(), _files(place), []
    for number in range(0, len(draws), 3):
        path = files[int(draws[number] * len(files))]
        times = path.stat()
        whole = _flip(path, draws[number + 1])
        told = verify_store("toy", store)["corrupt"]
        if str(path) not in {each["path"] for each in told}:
            unnoticed.append(f"`verify` did not name {path}, draw {draws[number + 1]}")
        elif misread := _misread(place, path, whole):
            unnoticed.append(misread)
        path.write_bytes(whole)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return unnoticed


def _misread(place: Place, path: Path, whole: bytes) -> str | None:
    """What a reader of a flipped table got instead of an error, where that was other values."""
    table = path.parent.relative_to(place.folder / "store/toy")
    if path.suffix != ".parquet" or {"sets", "_rejects", "_state"} & set(table.parts):
        return None
    store = open_store()
    try:
        got = store.table(str(table), path.stem)
    except (CorruptFileError, FileNotFoundError):
        return None
    path.write_bytes(whole)
    is_equal = store.table(str(table), path.stem).equals(got)
    return None if is_equal else f"{table}/{path.name} was read as other values"


def _flip_and_mend(trials: Trials, place: Place, rng: random.Random) -> list[str]:
    """A flip that `verify` names and sets aside, and that a run makes good."""
    path = rng.choice(_files(place))
    _flip(path, rng.random())
    told: Any = None
    name = f"{place.folder.name}: {path.relative_to(place.folder)}"
    if place.command("verify", "toy.yaml", name="verify").wait() != 1:
        return [f"{name}: `invertory verify` did not fail"]
    if path.name not in (told := place.said("verify")):
        return [f"{name} is not named by `invertory verify`: {told}"]
    if (code := place.command("verify", "toy.yaml", "--repair", name="repair").wait()) != 0:
        return [f"{name}: `invertory verify --repair` gave {code}: {place.said('repair')}"]
    return [f"{name}: {text}" for text in trials.problems_of(place, place.run(), trials.reference)]
