"""What was measured, picture by picture: so that two arms can be compared on the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]  # [N], NaN where the picture was rejected


class NotMeasuredError(LookupError):
    """An arm or a measure that a claim needs was not at hand."""


@dataclass(slots=True)
class Results:
    """part => arm => measure => values; parts are the sets, the editors and the analyses."""

    parts: dict[str, dict[str, dict[str, Values]]] = field(default_factory=dict)

    def put(self, part: str, arm: str, columns: dict[str, Values]) -> None:
        self.parts.setdefault(part, {}).setdefault(arm, {}).update(columns)

    def get(self, part: str, arm: str, measure: str) -> Values:
        """Raises `NotMeasuredError` where there is no such thing."""
        try:
            return self.parts[part][arm][measure]
        except KeyError as error:
            raise NotMeasuredError(f"{arm}: no {measure} of {part}") from error

    def measures(self, part: str) -> list[str]:
        """Every measure that some arm of the part has, in order."""
        arms = self.parts.get(part, {}).values()
        return list(dict.fromkeys(name for columns in arms for name in columns))
