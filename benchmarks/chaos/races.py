"""Several processes run the same recipe on the same store at once."""

from __future__ import annotations

import random
import shutil

from benchmarks.chaos.trials import Tally, Trials

NUM_PROCESSES = (2, 2, 2, 4)  # one race in four is among four
MAX_DELAY_S = 1.0


def race_runs(trials: Trials, num: int, seed: int) -> Tally:
    """`num` races from an empty store and an empty DAGSTER_HOME; everyone has to end well."""
    rng, tally = random.Random(seed), Tally("race", f"--races {num}")
    for number in range(num):
        with trials.trial(tally, f"races-{number:04d}") as place:
            shutil.rmtree(place.folder / "dagster")
            children = []
            for racer in range(rng.choice(NUM_PROCESSES)):
                children.append(place.command("run", "toy.yaml", "--json", name=f"racer-{racer}"))
                children[-1].wait(rng.choice((0.0, rng.uniform(0, MAX_DELAY_S))))
            tally.note("processes", len(children))
            codes = [child.wait() for child in children]
            problems = [
                f"{place.folder.name}: racer {racer} gave {code}: {place.said(f'racer-{racer}')}"
                for racer, code in enumerate(codes)
                if code != 0
            ]
            for child, code in zip(children, codes, strict=True):
                if code is None:
                    child.kill()
            problems = problems or trials.problems_of(place, 0, trials.reference)
            tally.add(1, problems)
    return tally
