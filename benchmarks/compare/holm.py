"""Verdicts corrected for the number of claims.

Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6: the probability that any claim is held by chance is at most `SURE`, whatever the
dependence between the tests. A claim whose own rule fails counts as a claim that was tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.compare.evidence import SURE, Verdict


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: each holds at a level that is not below it."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))  # the smallest of m p-values is multiplied by m
    found = np.empty_like(p)
    found[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return [float(value) for value in found]


def corrected(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Every verdict that a test decides at its adjusted p-value; the others as they are."""
    tested = {text: v.p for text, v in verdicts.items() if v.p is not None}
    found = dict(zip(tested, adjusted(list(tested.values())), strict=True))
    return {text: _at(v, found.get(text)) for text, v in verdicts.items()}


def is_lost(verdict: Verdict) -> bool:
    """Held by its own rule, and not after the correction."""
    return verdict.is_held is False and verdict.p is not None and verdict.p < SURE


def _at(verdict: Verdict, p_holm: float | None) -> Verdict:
    if p_holm is None:
        return verdict
    return replace(verdict, is_held=p_holm < SURE, p_holm=p_holm)
