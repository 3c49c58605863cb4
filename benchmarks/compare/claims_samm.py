"""What SAMM claims (Yang et al. 2023, https://arxiv.org/abs/2212.09262), held here or not.

On drawn portraits with objects, whose true masks are known.
"""

from __future__ import annotations

from typing import Final

from benchmarks.compare.claims import Claim, Verdict, better, difference, each_better
from benchmarks.compare.editability import T
from benchmarks.compare.objects import (
    AREA,
    CENTRE_IOU,
    EDITED_INSIDE,
    IOU,
    RANDOM_IOU,
    RISE_INSIDE,
    TRUE_AREA,
)
from benchmarks.compare.results import NotMeasuredError, Results
from benchmarks.compare.rows import OOD_EDITS

OBJECTS: Final = "portraits_ood"
BASE: Final = "domain_guided_encoder"  # that SAMM is trained on here
CYCLES: Final = ("samm, N = 1", "samm", "samm, N = 3")
UNALIGNED: Final = ("samm, alignment skipped", "samm, no alignment")


def less_area(results: Results) -> Verdict:
    """Against the same network whose warps are skipped, and one that was trained without."""
    found, absent = {}, []
    for arm in UNALIGNED:
        try:
            pair = (results.get(OBJECTS, name, AREA) for name in ("samm", arm))
            found[arm] = difference(*pair)
        except NotMeasuredError as error:
            absent.append(str(error.args[0]))
    if not found:
        raise NotMeasuredError("; ".join(absent))
    true = results.get(OBJECTS, "samm", TRUE_AREA).mean()
    told = "; ".join([*(f"{arm}: {one}" for arm, one in found.items()), *absent])
    is_held = all(one.is_sure(-1) for one in found.values())
    return Verdict(is_held, f"{AREA}: {told}; objects have {true:.3g}")


def masks_find(results: Results) -> Verdict:
    """IoU with the objects against as many pixels at random, and in the middle of the picture."""
    own = results.get(OBJECTS, "samm", IOU)
    others = (RANDOM_IOU, CENTRE_IOU)
    found = {name: difference(own, results.get(OBJECTS, "samm", name)) for name in others}
    told = "; ".join(f"{name}: {one}" for name, one in found.items())
    return Verdict(all(one.is_sure(1) for one in found.values()), f"{IOU} against {told}")


def edits_keep(results: Results) -> Verdict:
    """Within objects the edit leaves less error than its base encoder's, and raises it by less."""
    found = {
        name: difference(*(results.get(OOD_EDITS, arm, name) for arm in ("samm", BASE)))
        for name in (EDITED_INSIDE, RISE_INSIDE)
    }
    gain = difference(*(results.get(OOD_EDITS, arm, T) for arm in ("samm", BASE)))
    told = "; ".join(f"{name}: {one}" for name, one in found.items())
    return Verdict(all(one.is_sure(-1) for one in found.values()), f"{told}; meanwhile t: {gain}")


CLAIMS: Final[dict[str, Claim]] = {
    "SAMM: reconstructs objects better than its base encoder": better(
        OBJECTS, "MSE", ("samm", BASE), -1
    ),
    "SAMM: each cycle improves the reconstruction (N = 1, 2, 3)": each_better(
        (OBJECTS,), "MSE", CYCLES, -1
    ),
    "SAMM: alignment shrinks the out-of-domain area": less_area,
    "SAMM: masks find the objects": masks_find,
    "SAMM: edits keep what is outside the domain": edits_keep,
}
