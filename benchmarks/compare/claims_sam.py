"""What SAM claims (Parmar et al. 2022, https://arxiv.org/abs/2206.08357), held here or not.

Over plain portraits and ones with objects together, for the choice of a space matters most where
some of a picture is beyond the generator. How well a picture can be edited is t, what the referee's
score gains by the edit; the error after the edit, from the picture that it should have given, sees
both sides of the trade.
"""

from __future__ import annotations

from typing import Final

from benchmarks.compare.budgets import SINGLE_SPACES
from benchmarks.compare.claims import Claim, Difference, Verdict, difference, each_better, pooled
from benchmarks.compare.editability import COSINE, ERROR, T
from benchmarks.compare.results import Results

PICTURES: Final = ("portraits", "portraits_ood")
EDITS: Final = ("edit/boundary", "edit/objects")
SINGLE: Final = tuple(f"sam, {name} alone" for name in SINGLE_SPACES)
NEAR: Final = 0.1  # of the mean squared error: what counts as nearly equal reconstruction


def compared(results: Results, other: str) -> dict[str, Difference]:
    """SAM against another arm: reconstruction, and edits three ways."""
    measured = {"MSE": PICTURES, T: EDITS, COSINE: EDITS, ERROR: EDITS}
    return {
        name: difference(*(pooled(results, parts, arm, name) for arm in ("sam", other)))
        for name, parts in measured.items()
    }


def told(found: dict[str, Difference]) -> str:
    return "; ".join(f"{name}: {one}" for name, one in found.items())


def adaptive(results: Results) -> Verdict:
    """Beside each single space SAM is surely better at one of two and not worse at both.

    The two are reconstruction (MSE) and edits (t); so no single space is on both counts as good.
    """
    is_held, parts = True, []
    for arm in SINGLE:
        found = compared(results, arm)
        is_better = found["MSE"].is_sure(-1) or found[T].is_sure(1)
        parts.append(f"{arm}: {told({name: found[name] for name in ('MSE', T, ERROR)})}")
        is_held = is_held and is_better
    return Verdict(is_held, " | ".join(parts))


def joint_error(results: Results) -> Verdict:
    """The stronger reading: the edited picture is nearer its truth than from any single space."""
    found = {arm: compared(results, arm)[ERROR] for arm in SINGLE}
    is_held = all(one.is_sure(-1) for one in found.values())
    return Verdict(is_held, f"{ERROR}: {told(found)}")


def edits_gain(other: str) -> Claim:
    """Edits surely better in one way and in none worse, at nearly equal reconstruction."""

    def claim(results: Results) -> Verdict:
        found = compared(results, other)
        edits = {T: 1, COSINE: 1, ERROR: -1}
        gained = any(found[name].is_sure(sign) for name, sign in edits.items())
        lost = any(found[name].is_sure(-sign) for name, sign in edits.items())
        is_equal = found["MSE"].a <= found["MSE"].b * (1 + NEAR)
        return Verdict(gained and not lost and is_equal, told(found))

    return claim


def gains_something(other: str) -> Claim:
    """Reconstruction or edits surely better, and neither surely worse."""

    def claim(results: Results) -> Verdict:
        found = compared(results, other)
        signs = {"MSE": -1, T: 1, COSINE: 1}
        gained = any(found[name].is_sure(sign) for name, sign in signs.items())
        lost = any(found[name].is_sure(-sign) for name, sign in signs.items())
        return Verdict(gained and not lost, told(found))

    return claim


CLAIMS: Final[dict[str, Claim]] = {
    "SAM: later layers reconstruct better": each_better(PICTURES, "MSE", SINGLE, -1),
    "SAM: later layers edit less": each_better(EDITS, T, SINGLE, -1),
    "SAM: no single space is as good as the adaptive choice at reconstruction and at edits": (
        adaptive
    ),
    "SAM: edits of the adaptive choice are nearer the truth than those of any single space": (
        joint_error
    ),
    "SAM: segments matter (edits better than with a choice by pixels)": edits_gain(
        "sam, by pixels"
    ),
    "SAM: the predictor's choice is better than one by classes": gains_something("sam, by classes"),
    "SAM: the regularisers make edits better at little distortion": edits_gain(
        "sam, no regulariser"
    ),
}
