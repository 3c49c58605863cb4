"""Conditions on settings, as data: `(("schedule", "==", "ramp"),)`.

A setting with such conditions has an effect where all of them hold, such as the length of a ramp.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

Condition = tuple[str, str, Any]  # name of a setting, one of COMPARISONS, value

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "in": lambda value, choices: value in choices,
    "size !=": lambda values, size: len(values) != size,
}


def hold(conditions: Iterable[Condition], settings: Mapping[str, Any]) -> bool:
    """Whether all conditions hold of the settings."""
    return all(COMPARISONS[word](settings[name], value) for name, word, value in conditions)
