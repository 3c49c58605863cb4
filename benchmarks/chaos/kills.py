"""kill -9 of `invertory run` at random instants, again and again until a run comes to its end."""

from __future__ import annotations

import random

from benchmarks.chaos.place import Place
from benchmarks.chaos.trials import Tally, Trials

MAX_KILLS = 6  # of one store


def kill_runs(trials: Trials, num: int, seed: int) -> Tally:
    """`num` kills, each within the processor time that a whole run takes."""
    rng, tally = random.Random(seed), Tally("kill -9", f"--kills {num}")
    while tally.tried < num:
        with trials.trial(tally, f"kills-{tally.stores:04d}") as place:
            limit, num_kills = min(MAX_KILLS, num - tally.tried), 0
            while num_kills < limit and _is_killed(place, rng.uniform(0, trials.run_cpu_s)):
                num_kills += 1
            code = place.run() if num_kills == limit else 0
            tally.add(num_kills, trials.problems_of(place, code, trials.reference))
    return tally


def _is_killed(place: Place, cpu_s: float) -> bool:
    """Kill a run once it has used `cpu_s`; False where it came to its end before."""
    child = place.command("run", "toy.yaml", "--json")
    code = child.wait(cpu_s=cpu_s)
    if code is None:
        child.kill()
    elif code != 0:
        raise RuntimeError(f"{place.folder}: a run after a kill gave {code}: {place.said()}")
    return code is None
