"""The units of a comparison, arms and analyses: measured, or read from the cache."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.compare import analyses, report, rows
from benchmarks.compare.editors import native_boundaries
from benchmarks.compare.reconstruction import measured
from benchmarks.compare.results import Results
from benchmarks.compare.store import Kept
from invertory.portraits.attributes import DECIDED

if TYPE_CHECKING:
    from benchmarks.compare.bench import Bench
    from benchmarks.compare.budgets import Arm, Budget
    from benchmarks.compare.domains import Domain
    from benchmarks.compare.store import Store

ANALYSES: Final = ("codes", "to_quality", "samples")


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of the comparison with its own cache file; its results depend only on `key`."""

    name: str
    key: dict[str, Any]
    make: Callable[[], Kept]


def progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def at_hand(domain: Domain, arms: Sequence[Arm]) -> list[Arm]:
    """The arms whose networks are available; `absent` and `failed` explain the others."""
    found = [arm for arm in arms if domain.networks(arm) is not None]
    for name in (arm.name for arm in arms if arm not in found):
        progress(f"{name}: {'failed' if name in domain.failed else 'unavailable'}")
    return found


def arm_units(bench: Bench, arms: Sequence[Arm]) -> Iterator[Unit]:
    for arm in arms:
        yield Unit(arm.name, bench.key_of(arm), partial(rows.measure, bench, arm))


def analysis_units(
    bench: Bench,
    budget: Budget,
    arms: Sequence[Arm],
    *,
    climb: int,
    names: Sequence[str] = ANALYSES,
) -> Iterator[Unit]:
    """The analyses in `names`; samples are those of the arms' generators."""
    domain, batch = bench.domain, bench.work.batch
    own = domain.family(budget.arm("image2stylegan"))
    two = [bench.key_of(budget.arm(name)) for name in analyses.CODES if names]
    code = bench.code(own, [analyses.__name__])
    key = {**bench.key(own), "arms": dict(enumerate(two)), "code": code}
    if "codes" in names:

        def codes() -> Kept:
            boundaries = native_boundaries(domain, own, DECIDED, bench.work.samples)
            return _of_part("codes", analyses.codes(domain, budget, boundaries, batch=batch))

        yield Unit("codes", {**key, "steps": budget.code_steps}, codes)
    if "to_quality" in names:

        def to_quality() -> Kept:
            kept = Kept()
            for goal, found in analyses.to_quality(domain, budget, num=climb, batch=batch).items():
                kept.columns |= _of_part(f"{analyses.CLIMB}, {goal}", found).columns
            return kept

        yield Unit("to_quality", {**key, "climb": budget.climb, "num": climb}, to_quality)
    if "samples" in names:
        for family in {domain.family(arm).name: domain.family(arm) for arm in arms}.values():
            name = family.name or f"{domain.name}_generator"
            code = bench.code(family, [analyses.__name__])
            own_key = {**bench.key(family), "numbers": analyses.NUMBERS, "code": code}
            yield Unit(f"samples {name}", own_key, _samples(bench, name, family))


def units_run(bench: Bench, units: Sequence[Unit], store: Store) -> dict[str, Kept]:
    """name => results; a unit that fails is listed in `failed`, and the others continue."""
    found: dict[str, Kept] = {}
    for i, unit in enumerate(units, 1):
        start, how = time.perf_counter(), "kept"
        if not store.has(unit.name, unit.key):
            how = "measured"
            if changed := store.stale(unit.name, unit.key):
                progress(f"{unit.name}: measured again, changed: {changed}")
        try:
            found[unit.name] = store.kept(unit.name, unit.key, unit.make)
        except Exception as error:  # any error: the others continue, and the exit code is 1
            bench.domain.failed[unit.name] = f"{type(error).__name__}: {error}"
            how = f"failed\n{traceback.format_exc()}"
        spent = time.perf_counter() - start
        progress(f"{i} of {len(units)}, {unit.name}: {how}, {spent:.0f} s")
    return found


def results_of(domain: Domain, arms: dict[str, Kept], others: dict[str, Kept]) -> Results:
    """Results with parts in the order of sets, edits and analyses, and arms in their order."""
    results = Results()
    for chosen in domain.sets:
        if len(chosen):
            itself = measured(domain, chosen, chosen.targets)
            results.put(chosen.name, report.ITSELF, itself)
    for name, kept in arms.items():
        for part, columns in kept.columns.items():
            results.put(part, name, columns)
    for kept in others.values():
        for place, columns in kept.columns.items():
            part, _, row = place.partition("|")
            results.put(part, row, columns)
    return results


def _of_part(part: str, found: dict[str, analyses.Columns]) -> Kept:
    """Columns of several rows of a part, named "part|row"."""
    return Kept({f"{part}|{row}": columns for row, columns in found.items()})


def _samples(bench: Bench, name: str, family: Any) -> Callable[[], Kept]:
    def make() -> Kept:
        found = analyses.samples(bench.domain, family)
        return _of_part(analyses.SAMPLES, {name: found})

    return make
