"""The population of portraits: base rates, correlations, and out-of-domain objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from invertory.portraits.attributes import (
    ATTRIBUTES,
    BINARY,
    DECIDED,
    OOD_KINDS,
    check_attribute,
)
from invertory.portraits.counterfactual import check_range

_CONDITION: Final = re.compile(r"\s*(\w+)\s*\|\s*(not\s+)?(\w+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The distribution of portraits. The default is the world that the bundled networks are trained
    on.

    `rates` are P(attribute); `correlations` are P(attribute | group), with keys such as "glasses |
    male" and "glasses | not male", and take precedence over rates; `fixed` sets a value, binary or
    continuous, for every portrait. `ood` is the share of portraits with an object of one of
    `ood_kinds`, drawn over the same face that the seed has without it. `background` is "simple" or
    "busy". Raises ValueError for unknown names and values out of range.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    correlations: Mapping[str, float] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    ood: float = 0.0
    ood_kinds: tuple[str, ...] = OOD_KINDS
    background: Literal["simple", "busy"] = "simple"

    def __post_init__(self) -> None:
        for name, rate in self.rates.items():
            check_attribute(name, DECIDED)
            _check_share(f"rates[{name!r}]", rate)
        for key, rate in self.correlations.items():
            parse_condition(key)
            _check_share(f"correlations[{key!r}]", rate)
        for name, value in self.fixed.items():
            _check_fixed(name, value)
        _check_share("ood", self.ood)
        for kind in self.ood_kinds:
            check_attribute(kind, OOD_KINDS)
        if self.ood and not self.ood_kinds:
            raise ValueError("expected at least one of ood_kinds where ood is above 0, got none")
        if self.background not in ("simple", "busy"):
            raise ValueError(f'expected background "simple" or "busy", got {self.background!r}')

    def probability(self, name: str, decided: Mapping[str, bool], otherwise: float) -> float:
        """P(name) given the sampled attributes `decided`; `otherwise` is the default."""
        if name in self.fixed:
            return float(self.fixed[name])
        for key, rate in self.correlations.items():
            attribute, group, holds = parse_condition(key)
            if attribute == name and decided[group] == holds:
                return rate
        return self.rates.get(name, otherwise)


def parse_condition(key: str) -> tuple[str, str, bool]:
    """ "glasses | not male" => ("glasses", "male", False); raises ValueError for other keys."""
    match = _CONDITION.fullmatch(key)
    if match is None:
        raise ValueError(
            f'expected a correlation like "glasses | male" or "glasses | not male", got {key!r}'
        )
    attribute, negated, group = match.groups()
    check_attribute(attribute, DECIDED)
    check_attribute(group, DECIDED)
    if DECIDED.index(group) >= DECIDED.index(attribute):
        raise ValueError(
            f"expected a group that is sampled before {attribute} "
            f"({', '.join(DECIDED[: DECIDED.index(attribute)]) or 'none is'}), got {group}"
        )
    return attribute, group, negated is None


def _check_share(what: str, share: float) -> None:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"expected {what} from 0 to 1, got {share!r}")


def _check_fixed(name: str, value: float) -> None:
    check_attribute(name, ATTRIBUTES)
    if name not in BINARY:
        check_range(name, value)
    elif value not in (0, 1):
        raise ValueError(f"expected fixed[{name!r}] to be 0 or 1, got {value!r}")
