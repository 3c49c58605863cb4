"""Which of a method's settings have an effect, given its other settings.

A field says so itself by conditions in its metadata, all of which must hold: `rampup` has
`"applies": (("schedule", "==", "ramp"),)`. Conditions are data, so that the catalogue of methods
can hold them and a recipe is completed without importing a method.

The settings that are stored with latents, and that decide whether latents are computed again, are
those of `effective`: a setting without effect has its default there.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
Condition = tuple[str, str, Any]  # setting, one of COMPARISONS, value

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "in": lambda value, choices: value in choices,
    "size !=": lambda values, size: len(values) != size,
}


def effective(method: Settings) -> Settings:
    """The method with the default of every setting that has no effect beside the others."""
    return replace(
        method, **{f.name: default_of(f) for f in fields(method) if not applies(f, method)}
    )


def applies(field: Field[Any], method: Any) -> bool:
    """Whether the setting has an effect beside the method's other settings."""
    return hold(conditions_of(field), lambda name: getattr(method, name))


def conditions_of(field: Field[Any]) -> tuple[Condition, ...]:
    """The conditions under which the setting has an effect; none: it always has one."""
    conditions: tuple[Condition, ...] = field.metadata.get("applies", ())
    return conditions


def hold(conditions: Iterable[Condition], value_of: Callable[[str], Any]) -> bool:
    """Whether all conditions hold; `value_of` gives a setting's value by its name."""
    return all(COMPARISONS[word](value_of(name), value) for name, word, value in conditions)


def default_of(field: Field[Any]) -> Any:
    """The default of a dataclass's field; MISSING where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()
