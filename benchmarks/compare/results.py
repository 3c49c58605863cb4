"""Results per image, so that arms can be compared on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]  # [N], NaN for rejected images
Numbers = npt.NDArray[np.int64]  # [N], numbers of images
PICTURE = "number of the picture"  # column of edits, which share images
_APART = 1_000_000  # offset of image numbers between parts


class NotMeasuredError(LookupError):
    """An arm or measure that a claim needs is missing."""


@dataclass(slots=True)
class Results:
    """part => arm => measure => values; parts are the sets, editors and analyses."""

    parts: dict[str, dict[str, dict[str, Values]]] = field(default_factory=dict)

    def put(self, part: str, arm: str, columns: dict[str, Values]) -> None:
        self.parts.setdefault(part, {}).setdefault(arm, {}).update(columns)

    def get(self, part: str, arm: str, measure: str) -> Values:
        """The values of a measure; raises `NotMeasuredError` if they are missing."""
        try:
            return self.parts[part][arm][measure]
        except KeyError as error:
            raise NotMeasuredError(f"{arm}: no {measure} of {part}") from error

    def pooled(self, parts: Sequence[str], arm: str, measure: str) -> Values:
        """The concatenated values of all parts that were measured."""
        return np.concatenate(
            [self.get(part, arm, measure) for part in self._of(parts, arm, measure)]
        )

    def pictures(self, parts: Sequence[str], arm: str, measure: str) -> Numbers:
        """[N]: the number of the image for each value of `pooled`."""
        found = []
        for i, part in enumerate(self._of(parts, arm, measure)):
            rows = np.arange(len(self.get(part, arm, measure)))
            numbers = self.parts[part][arm].get(PICTURE, rows)
            found.append(i * _APART + np.asarray(numbers).astype(np.int64))
        return np.concatenate(found)

    def measures(self, part: str) -> list[str]:
        """All measures that some arm of the part has, in order."""
        arms = self.parts.get(part, {}).values()
        names = dict.fromkeys(name for columns in arms for name in columns)
        return [name for name in names if name.partition("/")[0] != PICTURE]

    def _of(self, parts: Sequence[str], arm: str, measure: str) -> list[str]:
        there = [part for part in parts if part in self.parts]
        if not there:
            raise NotMeasuredError(f"{arm}: no {measure} of {', '.join(parts)}")
        return there
