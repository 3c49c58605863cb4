"""Evidence for a claim: paired comparisons of two arms, what is sure of them, and the verdict.

A comparison is sure where the difference has the claimed sign and a paired t-test over the same
pictures or edits gives p < 0.05, two-sided; a tie is never sure. Edits of one picture are not
independent, so the test counts pictures, not edits. A claim that says "each" needs every comparison
to be sure, and then none has to be corrected for their number (Berger 1982,
https://doi.org/10.1080/00401706.1982.10487790). One that is content with any of k needs a
p < 0.05 / k, and so does what speaks against it (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from benchmarks.compare.results import NotMeasuredError, Numbers, Results, Values
from invertory.metrics.improved_target import paired_test

SURE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """`is_held` is None where the claim could not be tested."""

    is_held: bool | None
    deciding: str  # the one comparison that decided it, with n and p; or what lacks
    details: tuple[str, ...] = ()  # all that was compared
    note: str = ""  # why it is not held, where that is known

    @property
    def word(self) -> str:
        return {True: "held", False: "not held", None: "not tested"}[self.is_held]

    @property
    def short(self) -> str:
        return f"{self.word}, by {self.deciding}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the means of a - b over the rows that both have, each with its deviation."""

    a: float
    b: float
    p: float
    n: int
    spreads: tuple[float, float] = (float("nan"), float("nan"))
    num_pictures: int = 0  # 0: a row each

    @property
    def counted(self) -> str:
        of = f" of {self.num_pictures} pictures" if 0 < self.num_pictures < self.n else ""
        return f"n = {self.n}{of}, p = {self.p:.2g}"

    @property
    def means(self) -> list[str]:
        both = zip((self.a, self.b), self.spreads, strict=True)
        return [f"{mean:.4g} ± {spread:.2g}" for mean, spread in both]

    def is_sure(self, sign: int, of: int = 1) -> bool:
        """`of`: how many comparisons there are of which one is enough."""
        return self.p * of < SURE and (self.a - self.b) * sign > 0


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison, and the sign of a - b that the claim wants; `sides` name a and b."""

    measure: str
    found: Difference
    sign: int
    sides: tuple[str, str] = ("", "")

    def is_sure(self, of: int = 1) -> bool:
        return self.found.is_sure(self.sign, of)

    def is_against(self, of: int = 1) -> bool:
        return self.found.is_sure(-self.sign, of)

    @property
    def doubt(self) -> float:
        """One-sided p: small where it is for the claim, near 1 where it is against."""
        half = self.found.p / 2
        return half if (self.found.a - self.found.b) * self.sign > 0 else 1 - half

    def __str__(self) -> str:
        both = zip(self.sides, self.found.means, strict=True)
        named = " against ".join(f"{side} {mean}".strip() for side, mean in both)
        return f"{self.measure}: {named} ({self.found.counted})"


@dataclass(frozen=True, slots=True)
class Price:
    """What may be lost, as a share of b; looked at, not tested: it has no better side."""

    compared: Compared
    limit: float

    @property
    def is_within(self) -> bool:
        return self.compared.found.a <= self.compared.found.b * (1 + self.limit)

    def __str__(self) -> str:
        return f"{self.compared}; at most {self.limit:.0%} more is allowed"


def difference(a: Values, b: Values, pictures: Numbers | None = None) -> Difference:
    """`pictures` [N]: the number of the picture that a row is of; without, a row each."""
    if a.shape != b.shape:
        raise NotMeasuredError(f"measured on {len(a)} and on {len(b)} pictures or edits")
    whole = np.isfinite(a) & np.isfinite(b)
    num = whole.sum() if pictures is None else len(np.unique(pictures[whole]))
    if num < 2:
        raise NotMeasuredError("fewer than two pictures that both have")
    found = paired_test(a, b, pictures)
    spreads = float(a[whole].std(ddof=1)), float(b[whole].std(ddof=1))
    means = float(a[whole].mean()), float(b[whole].mean())
    return Difference(*means, found.p_value, found.n, spreads, found.num_groups)


def compare(
    results: Results, parts: Sequence[str], measure: str, arms: tuple[str, str], sign: int
) -> Compared:
    """The first arm to the second, over the parts that were measured."""
    a, b = (results.pooled(parts, arm, measure) for arm in arms)
    pictures = results.pictures(parts, arms[0], measure)
    sides = (f"`{arms[0]}`", f"`{arms[1]}`")
    return Compared(measure, difference(a, b, pictures), sign, sides)


def each(found: Sequence[Compared], beside: Sequence[object] = ()) -> Verdict:
    """Every comparison is sure; the weakest one decides."""
    weakest = max(found, key=lambda one: one.doubt)
    details = tuple(map(str, [*found, *beside]))
    return Verdict(all(one.is_sure() for one in found), str(weakest), details)


def trade(
    gains: Sequence[Compared], prices: Sequence[Price] = (), beside: Sequence[object] = ()
) -> Verdict:
    """Surely better in one way, in none surely worse, and no price beyond its limit."""
    of, best = len(gains), min(gains, key=lambda one: one.doubt)
    worst = max(gains, key=lambda one: one.doubt)
    details = tuple(map(str, [*gains, *prices, *beside]))
    if of > 1:
        details += (f"one of the {of} measures is enough, at p < {SURE / of:.3g}",)
    for price in prices:
        if not price.is_within:
            return Verdict(False, str(price), details)
    if worst.is_against(of):
        return Verdict(False, str(worst), details)
    return Verdict(best.is_sure(of), str(best), details)


def ordered(
    results: Results, parts: Sequence[str], measure: str, arms: Sequence[str], sign: int
) -> Verdict:
    """A trend over arms in their order: the slope is sure, and no step surely goes the other way.

    For claims of a tendency, where two neighbours may tie. The slope is the least squares one of a
    picture's values over the arms' places, tested against 0.
    """
    values = np.stack([results.pooled(parts, arm, measure) for arm in arms], 1)
    pictures = results.pictures(parts, arms[0], measure)
    places = np.arange(len(arms)) - (len(arms) - 1) / 2
    slopes = values @ places / (places**2).sum()
    found = difference(slopes, np.where(np.isfinite(slopes), 0.0, np.nan), pictures)
    slope = Compared(f"{measure}, slope from arm to arm", found, sign)
    steps = [compare(results, parts, measure, (b, a), sign) for a, b in pairwise(arms)]
    worst = max(steps, key=lambda one: one.doubt)
    is_reversed = worst.is_against(len(steps))
    is_held = slope.is_sure() and not is_reversed
    deciding = worst if is_reversed else slope
    return Verdict(is_held, str(deciding), tuple(map(str, [slope, *steps])))


def said(make: Callable[[], object]) -> str:
    """What it makes in words, or what it lacks: for what is told beside and decides nothing."""
    try:
        return str(make())
    except NotMeasuredError as error:
        return str(error.args[0])


def together(*verdicts: Verdict) -> Verdict:
    """All of them; the first that is not held decides, else the last."""
    details = tuple(told for verdict in verdicts for told in verdict.details)
    failed = [verdict for verdict in verdicts if not verdict.is_held]
    return Verdict(not failed, (failed or list(verdicts[-1:]))[0].deciding, details)
