"""Which of a method's settings have an effect, given its other settings.

A field declares this by conditions in its metadata, all of which must hold: `rampup` has
`"applies": (("schedule", "==", "ramp"),)`. They are data (see `invertory.conditions`), so that a
recipe is completed without importing its methods. The settings stored with latents, which decide
whether latents are computed again, are those of `effective`: it resets every setting without an
effect to its default.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from invertory.conditions import hold

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def effective(method: Settings) -> Settings:
    """Return the method with every setting that has no effect reset to its default."""
    return replace(
        method, **{f.name: _default(f) for f in fields(method) if not applies(f, method)}
    )


def applies(field: Field[Any], method: Any) -> bool:
    """Whether the setting has an effect, given the method's other settings."""
    values = {one.name: getattr(method, one.name) for one in fields(method)}
    return hold(field.metadata.get("applies", ()), values)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
