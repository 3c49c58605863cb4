"""What In-Domain and MAGEC claim, as functions over the results: held here, or not.

A claim is held where the difference has the claimed sign and a paired t-test over the same pictures
or edits gives p < 0.05; where it speaks of a price, also where the price is within its limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from benchmarks.compare.editability import COSINE, ECS, T
from benchmarks.compare.reconstruction import AGREEMENT, SECONDS
from benchmarks.compare.results import NotMeasuredError, Results, Values
from invertory.metrics.improved_target import paired_test

SURE: Final = 0.05
LITTLE: Final = 0.25  # of the mean squared error: what counts as little distortion
EQUAL: Final = 0.05  # of the mean squared error: what counts as equal reconstruction
EDITORS: Final = {"boundary": "the boundaries it was trained with", "ganspace": "GANSpace"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`is_held` is None where the claim could not be tested."""

    is_held: bool | None
    told: str  # numbers, n and p

    @property
    def word(self) -> str:
        return {True: "held", False: "not held", None: "not tested"}[self.is_held]


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the means of a - b over the rows that both have, each with its deviation."""

    a: float
    b: float
    p: float
    n: int
    spreads: tuple[float, float] = (float("nan"), float("nan"))

    def is_sure(self, sign: int) -> bool:
        return self.p < SURE and (self.a - self.b) * sign > 0

    def __str__(self) -> str:
        told = [
            f"{mean:.4g} ± {spread:.2g}"
            for mean, spread in zip((self.a, self.b), self.spreads, strict=True)
        ]
        return f"{' against '.join(told)} (n = {self.n}, p = {self.p:.2g})"


Claim = Callable[[Results], Verdict]


def difference(a: Values, b: Values) -> Difference:
    if a.shape != b.shape:
        raise NotMeasuredError(f"measured on {len(a)} and on {len(b)} pictures or edits")
    whole = np.isfinite(a) & np.isfinite(b)
    if whole.sum() < 2:
        raise NotMeasuredError("fewer than two pictures that both have")
    found = paired_test(a, b)
    spreads = float(a[whole].std(ddof=1)), float(b[whole].std(ddof=1))
    means = float(a[whole].mean()), float(b[whole].mean())
    return Difference(*means, found.p_value, found.n, spreads)


def judge(claims: Mapping[str, Claim], results: Results) -> dict[str, Verdict]:
    """Every claim; one that needs what is not at hand says so."""
    found = {}
    for text, claim in claims.items():
        try:
            found[text] = claim(results)
        except NotMeasuredError as error:
            found[text] = Verdict(None, str(error.args[0]))
    return found


def pooled(results: Results, parts: Sequence[str], arm: str, measure: str) -> Values:
    """The values of all parts, one after the other; parts that were not measured are left out."""
    there = [part for part in parts if part in results.parts]
    if not there:
        raise NotMeasuredError(f"{arm}: no {measure} of {', '.join(parts)}")
    return np.concatenate([results.get(part, arm, measure) for part in there])


def each_better(parts: Sequence[str], measure: str, arms: Sequence[str], sign: int) -> Claim:
    """Each arm's mean is above (sign 1) or below (-1) that of the one before it."""

    def claim(results: Results) -> Verdict:
        values = [pooled(results, parts, arm, measure) for arm in arms]
        found = [difference(after, before) for before, after in pairwise(values)]
        named = zip(pairwise(arms), found, strict=True)
        told = "; ".join(f"{after} to {before}: {one}" for (before, after), one in named)
        return Verdict(all(one.is_sure(sign) for one in found), f"{measure}: {told}")

    return claim


def better(part: str, measure: str, arms: tuple[str, str], sign: int) -> Claim:
    """The first arm's mean is above (sign 1) or below (-1) the second's."""

    def claim(results: Results) -> Verdict:
        found = difference(*(results.get(part, arm, measure) for arm in arms))
        return Verdict(found.is_sure(sign), f"{measure}: {found}")

    return claim


def regularised(results: Results) -> Verdict:
    """lambda_dom 2 against 0: what the edits and the attributes gain, and what it costs."""
    arms = ("in_domain", "in_domain, lambda_dom 0")
    cost = difference(*(results.get("portraits", arm, "MSE") for arm in arms))
    gains = {
        AGREEMENT: difference(*(results.get("portraits", arm, AGREEMENT) for arm in arms)),
        T: difference(*(results.get("edit/boundary", arm, T) for arm in arms)),
        COSINE: difference(*(results.get("edit/boundary", arm, COSINE) for arm in arms)),
    }
    gained = any(gain.is_sure(1) for gain in gains.values())
    lost = any(gain.is_sure(-1) for gain in gains.values())
    told = "; ".join(f"{name}: {gain}" for name, gain in gains.items())
    is_held = gained and not lost and cost.a <= cost.b * (1 + LITTLE)
    return Verdict(is_held, f"{told}; price in MSE: {cost}")


def faster(results: Results) -> Verdict:
    """Seconds until Image2StyleGAN has In-Domain's loss of the same picture."""
    needed = results.get("to quality", "image2stylegan", SECONDS)
    spent = results.get("to quality", "in_domain", SECONDS)
    reached = results.get("to quality", "image2stylegan", "reached")
    found = difference(needed, spent)
    ratio = float(np.median(needed / spent))
    told = f"median {ratio:.2f} times the time, {found} s; {reached.mean():.0%} of the pictures"
    return Verdict(found.is_sure(1), f"{told} came to it within the longest budget")


def edits_better(editor: str) -> Claim:
    """MAGEC with its term against without: a larger t or a smaller ECS, at equal reconstruction."""

    def claim(results: Results) -> Verdict:
        arms, part = ("magec", "magec, without its term"), f"edit/{editor}"
        mse = difference(*(results.get("portraits", arm, "MSE") for arm in arms))
        t = difference(*(results.get(part, arm, T) for arm in arms))
        ecs = difference(*(results.get(part, arm, ECS) for arm in arms))
        is_equal = mse.a <= mse.b * (1 + EQUAL)
        gained, lost = t.is_sure(1) or ecs.is_sure(-1), t.is_sure(-1) or ecs.is_sure(1)
        told = f"t: {t}; ECS: {ecs}; MSE: {mse}"
        return Verdict(is_equal and gained and not lost, told)

    return claim


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
    "In-Domain: the regulariser improves edits or attributes at little distortion": regularised,
    "In-Domain: a regulariser of 40 distorts more than one of 2": better(
        "portraits", "MSE", ("in_domain, lambda_dom 40", "in_domain"), 1
    ),
    "In-Domain: faster than Image2StyleGAN at equal quality": faster,
    "In-Domain: its codes mean more than Image2StyleGAN's, by boundaries of the codes": better(
        "codes", "average precision", ("in_domain", "image2stylegan"), 1
    ),
    "In-Domain: its codes mean more, by boundaries of the generator's own latents": better(
        "codes", "average precision, native boundary", ("in_domain", "image2stylegan"), 1
    ),
    "In-Domain: its edits keep to the domain better than Image2StyleGAN's": better(
        "edit/boundary", COSINE, ("in_domain", "image2stylegan"), 1
    ),
    **{
        f"MAGEC: its term makes better edits at equal reconstruction, by {told}": edits_better(name)
        for name, told in EDITORS.items()
    },
    "MAGEC: better edits (t) than Image2StyleGAN": better(
        "edit/boundary", T, ("magec", "image2stylegan"), 1
    ),
}
