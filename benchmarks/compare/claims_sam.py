"""What SAM claims (Parmar et al. 2022, https://arxiv.org/abs/2206.08357), held here or not.

Over plain portraits and ones with objects together, for the choice of a space matters most where
some of a picture is beyond the generator. How well a picture can be edited is t, what the referee's
score gains by the edit, beside the other measures of `claims.JUDGED`.

Edits are those of section 3.4: what lies in an F-space "get[s] modulated by w+ + dw+ only for the
layers which come after". The published code keeps the features of the layers before, but not the
picture that their skip connections have drawn, so that an edit reaches what F-spaces hold by
a way that the paper has not; how far depends on how many such layers there are below, most for F6.
So every claim about edits is decided, in all its arms, by edits that keep that picture too
(`preset: paper` when drawing); what the code's edits would decide is told beside. Both are made of
the same inversions (`budgets.REDRAWN`), whose preset is `code`: there the presets differ only in
whether a regulariser of W+ is squared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from benchmarks.compare.budgets import REDRAWN_AS, SINGLE_SPACES
from benchmarks.compare.claims import Claim, edits_of
from benchmarks.compare.editability import COSINE, ERROR, T
from benchmarks.compare.evidence import (
    Compared,
    Price,
    Verdict,
    compare,
    each,
    ordered,
    said,
    trade,
)
from benchmarks.compare.results import Results

Parts = tuple[str, ...]
PICTURES: Final = ("portraits", "portraits_ood")
BY_CODE: Final = ("edit/boundary", "edit/objects")
EDITS: Final = tuple(part + REDRAWN_AS for part in BY_CODE)
SINGLE: Final = tuple(f"sam, {name} alone" for name in SINGLE_SPACES)
NEAR: Final = 0.1  # of the mean squared error: what counts as nearly equal reconstruction


def decided(claim: Callable[[Results, Parts], Verdict]) -> Claim:
    """By edits of section 3.4; the verdict on the published code's is told beside."""

    def both(results: Results) -> Verdict:
        verdict = claim(results, EDITS)
        code = said(lambda: claim(results, BY_CODE).short)
        told = f"with edits as the published code makes them: {code}"
        return replace(verdict, details=(*verdict.details, told))

    return both


def later(results: Results, parts: Parts, measure: str) -> Verdict:
    """A measure falls from space to space.

    A tendency ("as invertibility increases in later layers, the editability decreases"): neighbours
    may tie, but none may surely turn back.
    """
    return ordered(results, parts, measure, SINGLE, -1)


def edit_less(results: Results, parts: Parts) -> Verdict:
    """By t. Figure 3.2 asks "whether the edit was applied successfully", yes or no.

    That is what a referee's probability tells; t is how much of it the edit gains. The other
    measures of edits ask something else: the cosine, whether a change goes the true way, however
    small it is; realism, whether the picture is one, which no edit at all leaves as it is; and the
    size of the change counts what has nothing to do with the attribute. A logit in place of the
    probability has no bounds, so that a few pictures would decide. As t is near 0 where an edit
    does nothing, the last spaces may tie there, which is no step back.
    """
    return later(results, parts, T)


def reconstruction(results: Results, other: str) -> Compared:
    return compare(results, PICTURES, "MSE", ("sam", other), -1)


def adaptive(results: Results, parts: Parts) -> Verdict:
    """Beside each single space SAM is surely better at one of two, reconstruction and t.

    So no single space is as good on both counts. Of each space two comparisons are made of which
    one is enough; the space with the weakest decides.
    """
    best, beside = [], []
    for arm in SINGLE:
        pair = [reconstruction(results, arm), compare(results, parts, T, ("sam", arm), 1)]
        best.append(min(pair, key=lambda one: one.doubt))
        beside += [*pair, compare(results, parts, ERROR, ("sam", arm), -1)]
    weakest = max(best, key=lambda one: one.doubt)
    is_held = all(one.is_sure(of=2) for one in best)
    p = min(1.0, max(2 * one.p for one in best))
    return Verdict(is_held, str(weakest), tuple(map(str, beside)), p=p)


def truest(results: Results, parts: Parts) -> Verdict:
    """The change that an edit makes goes more the true way than with any single space.

    By the cosine: the error of the edited picture is least where an edit does next to nothing (see
    `claims`), as it is in late spaces, and would call that the best edit.
    """
    found = [compare(results, parts, COSINE, ("sam", arm), 1) for arm in SINGLE]
    return each(found, [compare(results, parts, ERROR, ("sam", arm), -1) for arm in SINGLE])


def edits_gain(other: str, limit: float | None) -> Claim:
    """Edits surely better in one way and in none worse.

    `limit`: of what the error may rise. The paper says of its regularisers that both ways invert
    well; of segments it speaks of edits alone, and what each pixel of its own can reconstruct is
    the more by its making, so that no price is set there. Section 3.4's edits decide both: segments
    matter as parts of one are edited by different layers, and regularisers as a kept feature must
    go with an edited latent, neither of which is so where the edit reaches them all the same.
    """

    def claim(results: Results, parts: Parts) -> Verdict:
        cost = reconstruction(results, other)
        prices = [] if limit is None else [Price(cost, limit)]
        beside = [compare(results, parts, ERROR, ("sam", other), -1)]
        gains = edits_of(results, ("sam", other), parts)
        return trade(gains, prices, beside if prices else [cost, *beside])

    return decided(claim)


def gains_something(other: str) -> Claim:
    """Reconstruction or edits surely better, and neither surely worse."""

    def claim(results: Results, parts: Parts) -> Verdict:
        return trade(
            [reconstruction(results, other), *edits_of(results, ("sam", other), parts)],
            beside=[compare(results, parts, ERROR, ("sam", other), -1)],
        )

    return decided(claim)


CLAIMS: Final[dict[str, Claim]] = {
    "SAM: later layers reconstruct better": lambda results: later(results, PICTURES, "MSE"),
    "SAM: later layers edit less": decided(edit_less),
    "SAM: no single space is as good as the adaptive choice at reconstruction and at edits": (
        decided(adaptive)
    ),
    "SAM: edits of the adaptive choice go the true way more than those of any single space": (
        decided(truest)
    ),
    "SAM: segments matter (edits better than with a choice by pixels)": edits_gain(
        "sam, by pixels", None
    ),
    "SAM: the predictor's choice is better than one by classes": gains_something("sam, by classes"),
    "SAM: the regularisers make edits better at little distortion": edits_gain(
        "sam, no regulariser", NEAR
    ),
}
