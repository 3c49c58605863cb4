"""What SAM claims (Parmar et al. 2022, https://arxiv.org/abs/2206.08357), held here or not.

Over plain portraits and ones with objects together, for the choice of a space matters most where
some of a picture is beyond the generator. How well a picture can be edited is t, what the referee's
score gains by the edit, beside the other measures of `claims.JUDGED`.
"""

from __future__ import annotations

from typing import Final

from benchmarks.compare.budgets import SINGLE_SPACES
from benchmarks.compare.claims import Claim, edits_of
from benchmarks.compare.editability import COSINE, ERROR, T
from benchmarks.compare.evidence import Compared, Price, Verdict, compare, each, ordered, trade
from benchmarks.compare.results import Results

PICTURES: Final = ("portraits", "portraits_ood")
EDITS: Final = ("edit/boundary", "edit/objects")
SINGLE: Final = tuple(f"sam, {name} alone" for name in SINGLE_SPACES)
NEAR: Final = 0.1  # of the mean squared error: what counts as nearly equal reconstruction


def later(parts: tuple[str, ...], measure: str) -> Claim:
    """A measure falls from space to space.

    A tendency ("as invertibility increases in later layers, the editability decreases"): neighbours
    may tie, but none may surely turn back.
    """

    def claim(results: Results) -> Verdict:
        return ordered(results, parts, measure, SINGLE, -1)

    return claim


def reconstruction(results: Results, other: str) -> Compared:
    return compare(results, PICTURES, "MSE", ("sam", other), -1)


def adaptive(results: Results) -> Verdict:
    """Beside each single space SAM is surely better at one of two, reconstruction and t.

    So no single space is as good on both counts. Of each space two comparisons are made of which
    one is enough; the space with the weakest decides.
    """
    best, beside = [], []
    for arm in SINGLE:
        pair = [reconstruction(results, arm), compare(results, EDITS, T, ("sam", arm), 1)]
        best.append(min(pair, key=lambda one: one.doubt))
        beside += [*pair, compare(results, EDITS, ERROR, ("sam", arm), -1)]
    weakest = max(best, key=lambda one: one.doubt)
    is_held = all(one.is_sure(of=2) for one in best)
    return Verdict(is_held, str(weakest), tuple(map(str, beside)))


def truest(results: Results) -> Verdict:
    """The change that an edit makes goes more the true way than with any single space.

    By the cosine: the error of the edited picture is least where an edit does next to nothing (see
    `claims`), as it is in F4, and would call that the best edit.
    """
    found = [compare(results, EDITS, COSINE, ("sam", arm), 1) for arm in SINGLE]
    return each(found, [compare(results, EDITS, ERROR, ("sam", arm), -1) for arm in SINGLE])


def edits_gain(other: str, limit: float | None) -> Claim:
    """Edits surely better in one way and in none worse.

    `limit`: of what the error may rise. The paper says of its regularisers that both ways invert
    well; of segments it speaks of edits alone, and what each pixel of its own can reconstruct is
    the more by its making, so that no price is set there.
    """

    def claim(results: Results) -> Verdict:
        cost = reconstruction(results, other)
        prices = [] if limit is None else [Price(cost, limit)]
        beside = [compare(results, EDITS, ERROR, ("sam", other), -1)]
        gains = edits_of(results, ("sam", other), EDITS)
        return trade(gains, prices, beside if prices else [cost, *beside])

    return claim


def gains_something(other: str) -> Claim:
    """Reconstruction or edits surely better, and neither surely worse."""

    def claim(results: Results) -> Verdict:
        return trade(
            [reconstruction(results, other), *edits_of(results, ("sam", other), EDITS)],
            beside=[compare(results, EDITS, ERROR, ("sam", other), -1)],
        )

    return claim


CLAIMS: Final[dict[str, Claim]] = {
    "SAM: later layers reconstruct better": later(PICTURES, "MSE"),
    "SAM: later layers edit less": later(EDITS, T),
    "SAM: no single space is as good as the adaptive choice at reconstruction and at edits": (
        adaptive
    ),
    "SAM: edits of the adaptive choice go the true way more than those of any single space": truest,
    "SAM: segments matter (edits better than with a choice by pixels)": edits_gain(
        "sam, by pixels", None
    ),
    "SAM: the predictor's choice is better than one by classes": gains_something("sam, by classes"),
    "SAM: the regularisers make edits better at little distortion": edits_gain(
        "sam, no regulariser", NEAR
    ),
}
