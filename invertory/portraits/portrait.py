"""A portrait: an appearance, with what it shows and the changes that edits should make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from invertory.portraits.appearance import Appearance
from invertory.portraits.counterfactual import with_attribute
from invertory.portraits.visibility import visible_attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait(Appearance):
    """One drawn face; its fields are those of `Appearance`."""

    @property
    def attributes(self) -> dict[str, float]:
        """Every attribute as it is visible: binary ones 0 or 1, continuous ones in their unit."""
        return visible_attributes(self)

    def with_attribute(self, name: str, value: float) -> Self:
        """The same person with this attribute changed: what an edit should have drawn."""
        return with_attribute(self, name, value)

    def without_ood(self) -> Self:
        """The true face behind: no out-of-domain object, and the simple background."""
        return replace(self, ood=(), busy_background=False)
