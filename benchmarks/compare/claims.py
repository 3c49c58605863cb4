"""What In-Domain and MAGEC claim, as functions over the results: held here, or not.

In-Domain: Zhu et al. 2020, https://arxiv.org/abs/2004.00049. MAGEC: Grechka et al. 2021,
https://hal.sorbonne-universite.fr/hal-03504190. What counts as sure is in `evidence`.

Edits are judged by what does not reward moving little: t, the cosine of the change with the true
one, and the realism of the edited picture. At the step of three deviations nearly every edit goes
further than the drawn truth, so that doing nothing has the least counterfactual error; that error,
and the gain that is made of it, rank arms by how little they move. They are told, and decide
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from scipy import stats

from benchmarks.compare.analyses import CLIMB, GOALS, REACHED
from benchmarks.compare.editability import COSINE, ECS, ERROR, REALISM, T
from benchmarks.compare.evidence import (
    SURE,
    Compared,
    Price,
    Verdict,
    compare,
    each,
    together,
    trade,
)
from benchmarks.compare.holm import corrected
from benchmarks.compare.reconstruction import AGREEMENT, SECONDS
from benchmarks.compare.results import NotMeasuredError, Results

LITTLE: Final = 0.25  # of the mean squared error: what counts as little distortion
EQUAL: Final = 0.05  # of the mean squared error: what counts as equal reconstruction
EDITORS: Final = {"boundary": "the boundaries it was trained with", "ganspace": "GANSpace"}
JUDGED: Final = (T, COSINE, REALISM)  # of edits; more is better

Claim = Callable[[Results], Verdict]
NO_NOTES: Final[Mapping[str, str]] = {}


def judge(
    claims: Mapping[str, Claim], results: Results, notes: Mapping[str, str] = NO_NOTES
) -> dict[str, Verdict]:
    """Every claim, corrected for their number; one that needs what is not at hand says so.

    `notes`: claim => why it fails here, told where it does.
    """
    found = corrected({text: _verdict(claim, results) for text, claim in claims.items()})
    return noted(found, notes)


def noted(verdicts: Mapping[str, Verdict], notes: Mapping[str, str]) -> dict[str, Verdict]:
    """The verdicts, each that is not held with its note."""
    return {
        text: replace(v, note=notes.get(text, "") if v.is_held is False else "")
        for text, v in verdicts.items()
    }


def _verdict(claim: Claim, results: Results) -> Verdict:
    try:
        return claim(results)
    except NotMeasuredError as error:
        return Verdict(None, str(error.args[0]))


def each_better(parts: Sequence[str], measure: str, arms: Sequence[str], sign: int) -> Claim:
    """Each arm's mean is above (sign 1) or below (-1) that of the one before it."""

    def claim(results: Results) -> Verdict:
        pairs = [(after, before) for before, after in pairwise(arms)]
        return each([compare(results, parts, measure, pair, sign) for pair in pairs])

    return claim


def better(part: str, measure: str, arms: tuple[str, str], sign: int) -> Claim:
    """The first arm's mean is above (sign 1) or below (-1) the second's."""
    return each_better((part,), measure, arms[::-1], sign)


def edits_of(results: Results, arms: tuple[str, str], parts: Sequence[str]) -> list[Compared]:
    """The measures of edits that may decide."""
    return [compare(results, parts, name, arms, 1) for name in JUDGED]


def best_edits(arms: tuple[str, str]) -> Claim:
    """The first's edits are better in one way and worse in none."""

    def claim(results: Results) -> Verdict:
        parts = ("edit/boundary",)
        beside = [compare(results, parts, ERROR, arms, -1)]
        return trade(edits_of(results, arms, parts), beside=beside)

    return claim


def regularised(results: Results) -> Verdict:
    """lambda_dom 2 against 0: what the edits and the attributes gain, and what it costs."""
    arms = ("in_domain", "in_domain, lambda_dom 0")
    cost = Price(compare(results, ("portraits",), "MSE", arms, -1), LITTLE)
    gains = edits_of(results, arms, ("edit/boundary",))
    return trade([compare(results, ("portraits",), AGREEMENT, arms, 1), *gains], [cost])


def faster(results: Results) -> Verdict:
    """In-Domain comes first to a loss, whichever of the two methods has set it.

    Both may take the shortest of the same budgets that reaches it. The goals are the losses that
    either has of the same picture after its usual steps: with one's own goal alone the other would
    be matched to a budget that its rival was not free to choose. Of each goal a sign test over
    pictures, for a picture that a method never brings so far has no time: it counts as slower.
    """
    verdicts = [_first_to(results, goal) for goal in GOALS]
    return together(*verdicts)


def _first_to(results: Results, goal: str) -> Verdict:
    arms = ("in_domain", "image2stylegan")
    own, other = (
        np.where(
            results.get(f"{CLIMB}, {goal}", arm, REACHED) > 0,
            results.get(f"{CLIMB}, {goal}", arm, SECONDS),
            np.inf,
        )
        for arm in arms
    )
    first, second = int((own < other).sum()), int((other < own).sum())
    p = float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0
    both = np.isfinite(own) & np.isfinite(other)
    ratio = "no picture has both"
    if both.any():
        ratio = f"median {np.median(other[both] / own[both]):.2f} times the time"
    reached = [
        f"`{a}` on {np.isfinite(x).mean():.0%}" for a, x in zip(arms, (own, other), strict=True)
    ]
    told = f"to {goal}: `in_domain` first on {first} pictures, second on {second}"
    short = f"{told} (n = {len(own)}, p = {p:.2g})"
    detail = f"{short}; the loss is reached by {', '.join(reached)}; {ratio}"
    return Verdict(p < SURE and first > second, short, (detail,), p=p if first > second else 1.0)


def edits_better(editor: str) -> Claim:
    """MAGEC with its term against without: a larger t or a smaller ECS, at equal reconstruction."""

    def claim(results: Results) -> Verdict:
        arms, parts = ("magec", "magec, without its term"), (f"edit/{editor}",)
        cost = Price(compare(results, ("portraits",), "MSE", arms, -1), EQUAL)
        gains = [compare(results, parts, name, arms, sign) for name, sign in ((T, 1), (ECS, -1))]
        return trade(gains, [cost])

    return claim


REGULARISED: Final = "In-Domain: the regulariser improves edits or attributes at little distortion"
FASTER: Final = "In-Domain: faster than Image2StyleGAN at equal quality"

CLAIMS: Final[dict[str, Claim]] = {
    "In-Domain: an encoder's start beats the mean's at equal steps": better(
        "portraits", "MSE", ("hybrid", "image2stylegan"), -1
    ),
    "In-Domain: the domain-guided encoder reconstructs better than the conventional one": better(
        "portraits", "MSE", ("domain_guided_encoder", "conventional_encoder"), -1
    ),
    "In-Domain: optimisation improves on its encoder": better(
        "portraits", "MSE", ("in_domain", "domain_guided_encoder"), -1
    ),
    REGULARISED: regularised,
    "In-Domain: a regulariser of 40 distorts more than one of 2": better(
        "portraits", "MSE", ("in_domain, lambda_dom 40", "in_domain"), 1
    ),
    FASTER: faster,
    "In-Domain: its codes mean more than Image2StyleGAN's, by boundaries of the codes": better(
        "codes", "average precision", ("in_domain", "image2stylegan"), 1
    ),
    "In-Domain: its codes mean more, by boundaries of the generator's own latents": better(
        "codes", "average precision, native boundary", ("in_domain", "image2stylegan"), 1
    ),
    "In-Domain: its edits are better than Image2StyleGAN's": best_edits(
        ("in_domain", "image2stylegan")
    ),
    **{
        f"MAGEC: its term makes better edits at equal reconstruction, by {told}": edits_better(name)
        for name, told in EDITORS.items()
    },
    "MAGEC: better edits (t) than Image2StyleGAN": better(
        "edit/boundary", T, ("magec", "image2stylegan"), 1
    ),
}

# Claim => why it is not held here, where a measurement says so; to be read again after a training.
NOTES: Final[dict[str, str]] = {
    REGULARISED: (
        "The term pulls a code to the encoder's, which tell fewer attributes right than codes "
        "optimised without it: see lambda_dom 0, 2 and 40 beside `domain_guided_encoder`."
    ),
    FASTER: (
        "The term takes a pass of the encoder at each step and holds the error up: without it "
        "(`in_domain, lambda_dom 0`) a step is cheaper, and the error at equal steps less."
    ),
}
