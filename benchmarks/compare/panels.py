"""The panels of the plot, with one point per method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare.drawing import Axis, Panel, Point
from benchmarks.compare.editability import COSINE
from benchmarks.compare.reconstruction import SECONDS
from invertory.metrics.spread import spread_of

if TYPE_CHECKING:
    from benchmarks.compare.budgets import Arm
    from benchmarks.compare.domains import Domain
    from benchmarks.compare.results import Results


def panels(domain: Domain, arms: list[Arm], results: Results) -> list[Panel]:
    """Panels of the first set, and of the images with objects if there are any."""
    found = []
    edits = {0: "edit/boundary", 1: "edit/objects"}
    for i, chosen in enumerate(domain.sets[:2]):
        rows = results.parts.get(chosen.name, {})
        edited = results.parts.get(edits[i], {})
        time_points, edit_points = [], []
        for name in (arm.name for arm in arms if SECONDS in rows.get(arm.name, {})):
            error = spread_of(rows[name]["MSE"])
            time_points.append(Point(name, spread_of(rows[name][SECONDS]), error))
            if COSINE in edited.get(name, {}):
                edit_points.append(Point(name, error, spread_of(edited[name][COSINE])))
        x = Axis("seconds a picture", is_log=True)
        y = Axis("MSE", is_log=True)
        if not i:
            found.append(Panel(f"{chosen.name}: distortion and time", x, y, time_points))
        if edit_points:
            y = Axis("cosine of the edit with the true change")
            title = f"{chosen.name}: distortion and edits"
            found.append(Panel(title, Axis("MSE", is_log=True), y, edit_points))
    return found
