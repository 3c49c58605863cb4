"""A portrait: an appearance with its visible attributes and its counterfactuals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from invertory.portraits.appearance import Appearance
from invertory.portraits.counterfactual import with_attribute
from invertory.portraits.visibility import visible_attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait(Appearance):
    """A drawn face; its fields are those of `Appearance`."""

    @property
    def attributes(self) -> dict[str, float]:
        """All attributes as visible: binary ones 0 or 1, continuous ones in their units."""
        return visible_attributes(self)

    def with_attribute(self, name: str, value: float) -> Self:
        """The same person with this attribute changed: the ground truth of an edit."""
        return with_attribute(self, name, value)

    def without_ood(self) -> Self:
        """The face without out-of-domain objects, on the simple background."""
        return replace(self, ood=(), busy_background=False)
